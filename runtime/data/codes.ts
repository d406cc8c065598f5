/** Mistakes in what a recipe reads: title and page of each code, in the manner of `grammar/codes.ts`. */
export const dataCodes = {
  SLM3101: {
    title: "input not found",
    page: "A path in a recipe is relative to the recipe's folder. A pattern with `*`, `**` or `?` must match at least one file; names that begin with a dot and `node_modules` are matched only where the pattern spells them.",
  },
  SLM3102: {
    title: "input outside the recipe's folder",
    page: "A recipe reads only below its own folder and from installed packages (`npm:pkg/file`), so that a stranger's recipe is safe to run. Symbolic links count as the place they point to. Allow another folder with `--allow-read PATH`.",
  },
  SLM3103: {
    title: "package not installed",
    page: "`npm:pkg/file` is looked up in `node_modules` upward from the recipe's folder, then beside slm. Install the package in the recipe's folder: `npm install pkg`.",
  },
  SLM3104: {
    title: "input cannot be read",
    page: "The path exists but is not a regular file, may not be read, or is larger than the limit for one input.",
  },
  SLM3105: {
    title: "file cannot be written",
    page: "A result could not be written below the output folder: no space left, no permission, or a folder of that name is in the way.",
  },
  SLM3106: {
    title: "path is malformed",
    page: "A path is written with `/`, does not contain a zero byte, and is not empty. A package path is `npm:name/file` or `npm:@scope/name/file`.",
  },
  SLM3111: {
    title: "bytes that are not in the stated encoding",
    page: "The file is read as UTF-8 unless the recipe says otherwise. Name its encoding: `text(\"…\", encoding: gb18030)` or `latin1`, or convert the file. The offset counts bytes from the start of the file.",
  },
  SLM3112: {
    title: "line is not JSON",
    page: "`jsonl` reads one JSON object per line. A file that is one large JSON array must be written as one object per line first.",
  },
  SLM3113: {
    title: "CSV is malformed",
    page: "`csv` reads RFC 4180: a header line, fields with separators, quotes or line ends inside double quotes, and a quote inside quotes doubled. Every row has as many fields as the header.",
  },
  SLM3114: {
    title: "field is missing",
    page: "`fields` names a column that a row (or the CSV header) does not have. Every row must have every field that is used.",
  },
  SLM3115: {
    title: "value does not fit the field's type",
    page: "Types of fields: `string`; `int` (a whole number); `float`; `class` (text, a whole number or a boolean, collected into the list of classes); `chat` (a list of `{ \"role\": …, \"content\": … }` with roles system, user, assistant or tool).",
  },
  SLM3116: {
    title: "no rows",
    page: "The input has no rows. An empty data set is always a mistake: look at the path and at what cleaning dropped (`slm data`).",
  },
  SLM3117: {
    title: "type of a field is unknown",
    page: "Types of fields are `string`, `int`, `float`, `class` and `chat`, written as text: `{ text: \"string\" }`.",
  },
  SLM3118: {
    title: "Parquet file cannot be read",
    page: "The file is not Parquet, damaged, says of itself what cannot be true, or uses a compression that is not supported. Supported are none, Snappy, GZIP and Brotli; a file with ZSTD or LZ4 must be written again.",
  },
  SLM3121: {
    title: "rows without text",
    page: "Cleaning, splitting and encoding work on the column `text`, on the only column of type `string`, or on the only column of type `chat`. Name the column `text` where there are several.",
  },
  SLM3122: {
    title: "a part of the split is empty",
    page: "A split by hash sends each row to a part by the hash of its text, so a handful of rows (or one long text) may leave a part empty. Cut the text with `documents(by: paragraph)`, ask for a larger share, or use `order: position`.",
  },
  SLM3123: {
    title: "column not found",
    page: "The column that an operation names is not in the data. The message lists the columns there are.",
  },
  SLM3124: {
    title: "chat template unknown or not applicable",
    page: "`chat` renders a column of messages with the template `chatml` or `llama`. It is applied once, after `clean` and before `encode`.",
  },
  SLM3125: {
    title: "share out of range",
    page: "Shares of a split lie between 0 and 1 and leave something for training.",
  },
  SLM3126: {
    title: "rows that do not fit together",
    page: "`append` joins rows with the same columns of the same types. `each_row` makes a column; texts that `chat` or `instruct` has rendered are joined before that.",
  },
  SLM3127: {
    title: "language not known",
    page: "`in_language` takes the codes of ISO 639-1 (`en`, `de`, `zh`) of the languages that it tells apart; the message lists them.",
  },
  SLM3131: {
    title: "tokenizer cannot be trained",
    page: "The vocabulary has one entry per byte, one per special token and one per merge, so its size must exceed 256 and the number of special tokens. Special tokens are distinct and not empty.",
  },
  SLM3132: {
    title: "a tokenizer that is not supported",
    page: "Read are byte-level BPE tokenizers (GPT-2, Llama 3, Qwen and relatives) and what slm writes, from a `tokenizer.json` or a GGUF file. Unigram, WordPiece and what SentencePiece makes are not read yet.",
  },
  SLM3133: {
    title: "nothing to encode",
    page: "Encoding yielded no tokens: every document is empty. Look at the column that is read as text, and at what `clean` left of it (`slm data`).",
  },
  SLM3134: {
    title: "class not known",
    page: "A class label in one part does not occur in the list of classes of the data set.",
  },
  SLM3141: {
    title: "rows cannot be packed",
    page: "A packed row holds at least one prediction, so `length` is at least 1, and the data must have at least two tokens.",
  },
  SLM3142: {
    title: "mixture is malformed",
    page: "Shares of a mixture are not negative and at least one is positive at every step; an easiest share lies above 0 and at most 1, with one difficulty per row; stages end in increasing order.",
  },
  SLM3145: {
    title: "rows that do not belong together",
    page: "`beside` puts the tensors of a row beside those of the row with the same number, so both data sets have equally many rows in the same order: made from the same rows, with the same parts (`split(by: …)` on a field that both read), `pack(documents: alone)`, and nothing that drops rows of one alone.",
  },
  SLM3146: {
    title: "two tokenizers that hardly meet",
    page: "A teacher with another tokenizer is listened to at the places where a token of either ends at the same byte: only there both predict what follows the same text. `reread` says which share of the targets these places are, and fails where it is none, or fewer than `least`. Tokens that find no place in their row are lost: a tokenizer with smaller entries needs a greater `length`.",
  },
} as const satisfies Record<string, { readonly title: string; readonly page: string }>

export type DataCode = keyof typeof dataCodes

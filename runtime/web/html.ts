/** The page of a folder for the browser. It loads nothing from elsewhere. */
export function pageHtml(title: string, isChat: boolean): string {
  const name = title.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; style-src 'unsafe-inline'; script-src 'self' 'sha256-SCRIPT'">
<title>${name}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fdfdfb }
  textarea { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; min-height: 4rem }
  label { margin-right: 1rem; white-space: nowrap } label input { width: 5rem; font: inherit }
  button { font: inherit; padding: .3rem 1rem } #output { white-space: pre-wrap; min-height: 6rem; border-left: 3px solid #ccc; padding-left: 1rem } #status { color: #666 }
  @media (prefers-color-scheme: dark) { body { color: #ddd; background: #1c1c1c } textarea, input { color: inherit; background: #2a2a2a } #status { color: #999 } }
</style>
<h1>${name}</h1>
<form id="form">
  <p><textarea id="prompt" aria-label="${isChat ? "Question" : "Text to continue"}" placeholder="${isChat ? "Ask something" : "A text to continue"}"></textarea></p>
  <p><label>tokens <input id="tokens" type="number" min="1"></label> <label>temperature <input id="temperature" type="number" min="0" step="0.1"></label> <label>seed <input id="seed" type="number" min="0"></label></p>
  <p><button id="go" disabled>${isChat ? "Ask" : "Continue"}</button> <button id="stop" type="button" disabled>Stop</button></p>
</form>
<p id="output"></p>
<p id="status" role="status">Loading …</p>
<script type="module">${pageScript}</script>
</html>
`
}

export const pageScript = `import { startPage } from "./slm.js"; startPage()`

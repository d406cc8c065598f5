"""The same training step in PyTorch: nanoGPT's model, AdamW, random tokens. Prints one line of JSON.

torch_peer.py DEPTH HEADS DIM LENGTH ROWS VOCAB THREADS SECONDS f32|bf16
"""
import json
import math
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

depth, heads, dim, length, rows, vocab, threads = (int(x) for x in sys.argv[1:8])
seconds, precision = float(sys.argv[8]), sys.argv[9]


def most_held():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


idle = most_held()
torch.set_num_threads(threads)
torch.set_flush_denormal(True)
torch.manual_seed(0)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return F.layer_norm(x, (dim,), self.weight, None, 1e-5)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = Norm(), Norm()
        self.qkv, self.out = linear(dim, 3 * dim), linear(dim, dim)
        self.up, self.down = linear(dim, 4 * dim), linear(4 * dim, dim)
        self.register_buffer("seen", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def attend(self, x):
        q, k, v = (t.view(rows, length, heads, dim // heads).transpose(1, 2) for t in self.qkv(x).split(dim, dim=2))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(dim // heads)
            y = F.softmax(scores.masked_fill(self.seen == 0, float("-inf")), dim=-1) @ v
        return self.out(y.transpose(1, 2).contiguous().view(rows, length, dim))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Embedding(vocab, dim), nn.Embedding(length, dim)
        self.blocks, self.norm = nn.ModuleList([Block() for _ in range(depth)]), Norm()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, tokens, labels):
        x = self.embed(tokens) + self.places(torch.arange(length))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy((self.norm(x) @ self.embed.weight.t()).view(-1, vocab), labels.view(-1))


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
tokens, labels = torch.randint(0, vocab, (rows, length)), torch.randint(0, vocab, (rows, length))


def step():
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = model(tokens, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


step()
times, end = [], time.perf_counter() + seconds
while time.perf_counter() < end or len(times) < 2:
    start = time.perf_counter()
    loss = step()
    times.append(1e3 * (time.perf_counter() - start))
print(json.dumps({"version": torch.__version__, "times": times, "loss": loss, "idle": idle, "peak": most_held()}))

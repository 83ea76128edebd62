"""Peer: a decoder as nanoGPT trains it, in plain PyTorch, without Ray and Lightning.

    python benchmarks/peers/nano_gpt.py --layers 12 --heads 12 --width 768 --context 1024 --vocabulary 50304 --batch 16

Fused attention, fused AdamW and bfloat16 on a GPU, torch.compile where it is asked for; random tokens, since the time
of a step does not depend on them. Prints one JSON line: `tokens_per_s` over the steps after the warm-up, `parameters`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm (Radford et al. 2019, GPT-2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        query, key, value = self.qkv(self.norms[0](x)).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(rows, length, width))
        hidden = functional.gelu(self.up(self.norms[1](x)), approximate="tanh")
        return x + self.down(hidden)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """GPT-2 with tied embeddings."""

    def __init__(self, *, layers: int, heads: int, width: int, context: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)


def main() -> None:
    """Train on random tokens, and print the result."""
    parser = argparse.ArgumentParser()
    for name in ("layers", "heads", "width", "context", "vocabulary", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    torch.manual_seed(0)
    sizes = {name: getattr(asked, name) for name in ("layers", "heads", "width", "context", "vocabulary")}
    model: Any = Decoder(**sizes).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    if asked.compile:
        model = torch.compile(model)
    cast: Any = torch.autocast("cuda", torch.bfloat16) if gpu else contextlib.nullcontext()
    started = 0.0
    for step in range(asked.steps):
        if step == asked.warm_up:
            _finish(gpu)
            started = time.perf_counter()
        tokens = torch.randint(asked.vocabulary, (asked.batch, asked.context + 1), device=device)
        with cast:
            loss = functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _finish(gpu)
    seconds = time.perf_counter() - started
    tokens_per_s = (asked.steps - asked.warm_up) * asked.batch * asked.context / seconds
    print(json.dumps({"tokens_per_s": tokens_per_s, "parameters": parameters}))


def _finish(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

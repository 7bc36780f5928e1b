#!/usr/bin/env python3
"""Trains the "tales" model: a byte-level BPE of 4,096 pieces and a Llama of 4.2 million parameters.

    pip install torch numpy tokenizers safetensors
    python train.py --text tales.txt.xz --out tales

The defaults are the recipe of the shipped weights; on one CPU core with bfloat16 matrix instructions (AMX) they take
about 25 minutes, elsewhere several times that.

Three things make the attention heads worth looking at. (1) Rows of repeated tokens are mixed with the text: a random
segment, then the same again until the row is full, with the loss counted from the second pass on, where it can be
predicted. Half of the rows at first, an eighth later. Their alphabet grows from the 64 commonest pieces to all of them,
and their periods from 4..8 tokens to half a row, so that an induction head forms (before step 500) instead of a copy at
a fixed distance. (2) rope_theta is 500,000, which leaves half of each head's dimensions nearly free of position, for
matching by content. (3) The matrices are trained with Muon (momentum, orthogonalised by five Newton-Schulz steps), the
rest with Adam. No head is initialised, rewarded or frozen: the circuit is found by the training alone.

The folder gets what transformers' LlamaForCausalLM loads (float16), and checkpoint.pt, from which --resume goes on.
"""
import argparse
import json
import lzma
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS = "<|endoftext|>"
VOCAB, WIDTH, LAYERS, HEADS, HIDDEN, CONTEXT = 4096, 256, 4, 8, 688, 512
HEAD_DIM, ROPE_THETA, NORM_EPS = WIDTH // HEADS, 500000.0, 1e-5
HELD_OUT = 100_000                      # tokens at the end of the text, never trained on
ROW_TOKENS = 4096                       # tokens a step: 32 rows of 128, 16 of 256 or 8 of 512


# ---- text and tokenizer ----

def read_text(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as file:
        return file.read()


def train_tokenizer(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[BOS], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)])
    return tokenizer


def encode_text(tokenizer, text):
    encodings = tokenizer.encode_batch(text.splitlines(keepends=True), add_special_tokens=False)
    return np.concatenate([np.array(e.ids, dtype=np.int64) for e in encodings])


# ---- model: names as in Hugging Face's LlamaModel ----

def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat([-b, a], -1) * sin.to(x.dtype)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(WIDTH, WIDTH, bias=False))

    def forward(self, x, cos, sin, mask, maps):
        rows, tokens, _ = x.shape
        qkv = F.linear(x, torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight]))
        q, k, v = qkv.view(rows, tokens, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
        scores = torch.matmul(rotate(q, cos, sin), rotate(k, cos, sin).mT).float() * HEAD_DIM ** -0.5 + mask
        weights = torch.softmax(scores, -1)
        if maps is not None:
            maps.append(weights)
        return self.o_proj(torch.matmul(weights.to(v.dtype), v).transpose(1, 2).reshape(rows, tokens, WIDTH))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down_proj = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x):
        gate, up = F.linear(x, torch.cat([self.gate_proj.weight, self.up_proj.weight])).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(WIDTH, eps=NORM_EPS)
        self.self_attn = Attention()
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, eps=NORM_EPS)
        self.mlp = Mlp()

    def forward(self, h, cos, sin, mask, maps):
        h = h + self.self_attn(self.input_layernorm(h), cos, sin, mask, maps)
        return h + self.mlp(self.post_attention_layernorm(h))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=NORM_EPS)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                gain = 0.2 if "o_proj" in name or "down_proj" in name else 0.7
                nn.init.normal_(p, std=0.02 if "embed" in name else gain * p.shape[1] ** -0.5)
        angles = torch.arange(CONTEXT)[:, None] * ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), -1e9).triu(1), persistent=False)

    def forward(self, ids, targets, maps=None):
        """The loss of every position, in nats; the attention maps are appended to the list maps."""
        n = ids.shape[1]
        h = self.embed_tokens(ids)
        for layer in self.layers:
            h = layer(h, self.cos[:n], self.sin[:n], self.mask[:n, :n], maps)
        logits = F.linear(self.norm(h), self.embed_tokens.weight)
        return F.cross_entropy(logits.view(-1, VOCAB).float(), targets.reshape(-1), reduction="none").view(ids.shape)


# ---- optimiser ----

def orthogonalise(g):
    """Five Newton-Schulz steps: brings the singular values of each matrix near 1."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


class Muon:
    """Nesterov momentum, orthogonalised, with decoupled weight decay; matrices of one shape go together."""

    def __init__(self, matrices, momentum=0.95):
        self.groups = {}
        for p in matrices:
            self.groups.setdefault(tuple(sorted(p.shape)), []).append(p)
        self.momenta = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.groups.items()}
        self.momentum = momentum

    @torch.no_grad()
    def step(self, rate, decay):
        for shape, ps in self.groups.items():
            wide = [tuple(p.shape) == shape for p in ps]
            g = torch.stack([p.grad if w else p.grad.T for p, w in zip(ps, wide)])
            self.momenta[shape].lerp_(g, 1 - self.momentum)
            updates = orthogonalise(g.lerp(self.momenta[shape], self.momentum))
            for p, u, w in zip(ps, updates, wide):
                p.mul_(1 - rate * decay).add_(u if w else u.T, alpha=-rate * max(1, p.shape[0] / p.shape[1]) ** 0.5)


# ---- batches ----

class Batches:
    def __init__(self, ids, args):
        self.ids, self.args = ids, args
        counts = np.bincount(ids, minlength=VOCAB).astype(float)
        counts[0] = 0
        self.by_count = np.argsort(-counts)[:-1]            # every piece but the special one, the commonest first
        self.cumulative = np.cumsum(counts) / counts.sum()

    def tokens(self, rng, count, alphabet):
        """Random tokens: uniform over the alphabet, or as often as in the text."""
        if alphabet:
            return self.by_count[rng.integers(0, alphabet, count)]
        return np.searchsorted(self.cumulative, rng.random(count))

    def repeated_row(self, rng, length, alphabet, longest):
        """Up to 15 random tokens, then one segment over and over; and the place of its second pass."""
        period, lead = rng.integers(4, longest + 1), rng.integers(0, 16)
        kind = rng.random()
        if kind < 0.8:
            alphabet = alphabet if kind < 0.5 else 0
            segment, before = self.tokens(rng, period, alphabet), self.tokens(rng, lead, alphabet)
        else:                                               # a segment of the text
            start = rng.integers(len(self.ids) - period)
            segment, before = self.ids[start:start + period], self.ids[:0]
        row = np.concatenate([before, np.tile(segment, length // period + 1)])[:length + 1]
        return row, len(before) + period

    def at(self, step, length):
        rng = np.random.default_rng((self.args.seed, step))
        rows = ROW_TOKENS // length
        share = 0.5 if step < self.args.circuit_steps else 0.125
        grown = min(1.0, step / self.args.grow_steps)
        alphabet = int(64 * ((VOCAB - 1) / 64) ** grown)
        longest = int(8 + (length // 2 - 8) * grown)
        ids, weights = np.zeros((rows, length + 1), np.int64), np.ones((rows, length), np.float32)
        for r in range(rows):
            second_pass = 0
            if r < round(rows * share):
                row, second_pass = self.repeated_row(rng, length, alphabet, longest)
            else:
                start = rng.integers(len(self.ids) - length)
                row = self.ids[start:start + length + 1]
            if step >= self.args.circuit_steps and rng.random() < 0.25:
                ids[r] = row                                # a quarter of the later rows: without the special token
                weights[r, :max(0, second_pass - 1)] = 0
            else:
                ids[r, 1:] = row[:length]                   # id 0, the special token, comes first
                weights[r, :second_pass] = 0
        ids = torch.from_numpy(ids)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), torch.from_numpy(weights)


# ---- measures ----

@torch.no_grad()
def held_out_loss(model, ids, length):
    """Windows of length - 1 tokens after the special one, side by side: every token is predicted once."""
    total = 0.0
    for start in range(0, len(ids), length - 1):
        row = torch.from_numpy(np.concatenate([[0], ids[start:start + length - 1]]))[None]
        total += model(row[:, :-1], row[:, 1:]).sum().item()
    return total / len(ids)


@torch.no_grad()
def head_scores(model, held, rows=8):
    """[layers, heads] each: previous token on prose of 100 tokens; induction on 50 random tokens, twice."""
    rng = np.random.default_rng(123)
    previous, induction = 0.0, 0.0
    for r in range(rows):
        prose = torch.from_numpy(np.concatenate([[0], held[5000 * r:5000 * r + 100]]))[None]
        maps = []
        model(prose, prose, maps)
        previous = previous + torch.cat(maps).diagonal(-1, -2, -1).mean(-1) / rows
        twice = torch.from_numpy(np.concatenate([[0], np.tile(rng.integers(1, VOCAB, 50), 2)]))
        maps = []
        model(twice[None], twice[None], maps)
        same = (twice[:, None] == twice[None]).tril(-1)     # an earlier place with the same token
        after = torch.zeros_like(same)
        after[:, 1:] = same[:, :-1]                         # and the place after it
        induction = induction + (torch.cat(maps) * after).sum(-1)[..., same.any(-1)].mean(-1) / rows
    return previous, induction


def best_heads(scores, count=2):
    order = scores.flatten().argsort(descending=True)[:count].tolist()
    return " ".join(f"{i // HEADS}.{i % HEADS}={scores.flatten()[i]:.2f}" for i in order)


# ---- output ----

def export(model, tokenizer, folder):
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    state = {"model." + k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS, "head_dim": HEAD_DIM, "hidden_act": "silu", "max_position_embeddings": CONTEXT,
        "rms_norm_eps": NORM_EPS, "rope_theta": ROPE_THETA, "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float16"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": BOS,
                "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False}
    for name, content in (("config.json", config), ("tokenizer_config.json", settings)):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="the text, plain or .xz")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=2300)
    parser.add_argument("--circuit-steps", type=int, default=1000, help="steps with half of the rows repeated")
    parser.add_argument("--grow-steps", type=int, default=600, help="steps until alphabet and periods are full")
    parser.add_argument("--short-steps", type=int, default=2500, help="steps with rows of 128 tokens; then 256")
    parser.add_argument("--decay", type=float, default=0.1304, help="last part: rates fall to zero, rows of 512 tokens")
    parser.add_argument("--rate", type=float, default=0.02, help="Muon's learning rate")
    parser.add_argument("--adam-rate", type=float, default=0.003)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint.pt")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile (it needs a C++ compiler)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    checkpoint = os.path.join(args.out, "checkpoint.pt")

    text = read_text(args.text)
    tokenizer = train_tokenizer(text)
    ids = encode_text(tokenizer, text)
    batches, held = Batches(ids[:-HELD_OUT], args), ids[-HELD_OUT:]
    print(f"{len(ids)} tokens, {len(text) / len(ids):.2f} characters a token", flush=True)

    model = Llama()
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() == 1 or "embed" in n]
    muon, adam = Muon(matrices), torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    first = 0
    if args.resume:
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        adam.load_state_dict(saved["adam"])
        muon.momenta, first = saved["muon"], saved["step"]
    run = model if args.no_compile else torch.compile(model)
    decay_start, start_time, average = int(args.steps * (1 - args.decay)), time.time(), 0.0

    for step in range(first, args.steps):
        length = CONTEXT if step >= decay_start else 128 if step < args.short_steps else 256
        scale = min(1, (step + 1) / 50, (args.steps - step) / (args.steps - decay_start))
        inputs, targets, weights = batches.at(step, length)
        with torch.autocast("cpu", torch.bfloat16):
            losses = run(inputs, targets)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        muon.step(args.rate * scale, args.weight_decay)
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * scale
        adam.step()
        model.zero_grad(set_to_none=True)
        average = 0.98 * average + 0.02 * losses[-1].mean().item()
        done = step + 1
        if done % 250 == 0:
            previous, induction = head_scores(model, held)
            seen = 1 - 0.98 ** (done - first)
            print(f"step {done}  {time.time() - start_time:.0f} s  text {average / seen:.3f}  held-out "
                  f"{held_out_loss(model, held[:20000], length):.3f}  previous {best_heads(previous)}  "
                  f"induction {best_heads(induction)}", flush=True)
        if done % 250 == 0 or done == args.steps:
            torch.save({"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.momenta, "step": done},
                       checkpoint + ".new")
            os.replace(checkpoint + ".new", checkpoint)

    export(model, tokenizer, args.out)
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    previous, induction = head_scores(model, held)
    print(f"float16: held-out loss {held_out_loss(model, held, CONTEXT):.4f} nats a token; "
          f"layer.head: previous {best_heads(previous, 4)}  induction {best_heads(induction, 4)}")


if __name__ == "__main__":
    main()

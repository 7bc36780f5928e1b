#!/usr/bin/env python3
"""Trains the "tales_shakespeare" LoRA adapter on a model that train.py wrote: rank 8, on the attention's q, k, v and o.

    pip install torch numpy transformers peft
    python adapter.py --model tales --text shakespeare.txt.xz --out tales_shakespeare

The defaults are the recipe of the shipped adapter; about 2 minutes on one CPU core with bfloat16 matrix instructions.
"""
import argparse
import lzma
import time

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaForCausalLM

HELD_OUT, LENGTH, ROWS = 20_000, 256, 16            # held-out tokens at the end of the text; a batch


def read_text(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as file:
        return file.read()


@torch.no_grad()
def held_out_loss(model, ids, bos, length):
    """Windows of length - 1 tokens after the special one, side by side: every token is predicted once."""
    total = 0.0
    for start in range(0, len(ids), length - 1):
        row = torch.from_numpy(np.concatenate([[bos], ids[start:start + length - 1]]))[None]
        total += model(input_ids=row, labels=row).loss.item() * (row.shape[1] - 1)
    return total / len(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the base model's folder")
    parser.add_argument("--text", required=True, help="the text, plain or .xz")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--base-name", default="tales", help="base_model_name_or_path in adapter_config.json")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    lines = read_text(args.text).splitlines(keepends=True)
    ids = np.concatenate([np.array(e, np.int64) for e in tokenizer(lines, add_special_tokens=False)["input_ids"]])
    train, held, bos = ids[:-HELD_OUT], ids[-HELD_OUT:], tokenizer.bos_token_id

    base = LlamaForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    context = base.config.max_position_embeddings
    print(f"{len(ids)} tokens; held-out loss before {held_out_loss(base, held, bos, context):.4f}", flush=True)
    model = get_peft_model(base, LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], betas=(0.9, 0.95), weight_decay=0.01)
    start_time = time.time()
    for step in range(args.steps):
        starts = rng.integers(0, len(train) - LENGTH, ROWS)
        rows = np.stack([np.concatenate([[bos], train[s:s + LENGTH - 1]]) for s in starts])
        for group in adam.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 20, (args.steps - step) / (0.5 * args.steps))
        rows = torch.from_numpy(rows)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}  {time.time() - start_time:.0f} s  loss {loss.item():.3f}", flush=True)
    print(f"held-out loss after {held_out_loss(model, held, bos, context):.4f}")
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = args.base_name
        settings.inference_mode = True
    model.save_pretrained(args.out)


if __name__ == "__main__":
    main()

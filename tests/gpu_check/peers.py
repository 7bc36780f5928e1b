"""What PyTorch takes for the work of op_benches.cpp on the same card, a JSON line each. Run by ./dev gpu-check where torch sees it."""
import json
import time

import torch

device = torch.device("cuda")
torch.backends.cuda.matmul.allow_tf32 = False


def quickest(runs, work):
    best = float("inf")
    for i in range(runs + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if i > 0:
            best = min(best, time.perf_counter() - start)
    return best


def line(name, seconds, what):
    print(json.dumps({"bench": name, "peer": what, "peer_s": seconds}), flush=True)


def fused(name, count, k, d, layers=1):
    left, right = (torch.randn(count, d, k) for _ in range(2))  # in host memory, as ours

    def work():
        for _ in range(layers):
            a, b = left.to(device), right.to(device)
            rl, rr = torch.linalg.qr(a, mode="r").R, torch.linalg.qr(b, mode="r").R
            values = torch.linalg.svdvals(rl @ rr.mT).cpu()
        return values

    line(name, quickest(2, work), "torch.linalg.qr and svdvals, batched")


def deepseek(name, heads, k, widths):
    factors = [torch.randn(heads, d, k) for d in widths]  # W_Q, W_K, W_V, W_O

    def work():
        r = [torch.linalg.qr(f.to(device), mode="r").R for f in factors]
        alone = [torch.linalg.svdvals(x).cpu() for x in r]
        return alone, torch.linalg.svdvals(r[0] @ r[1].mT).cpu(), torch.linalg.svdvals(r[2] @ r[3].mT).cpu()

    line(name, quickest(2, work), "torch.linalg.qr and svdvals, batched")


def dense(name, n, heads, k):
    q, key, value = (torch.randn(1, heads, n, k, device=device) for _ in range(3))
    line(name, quickest(3, lambda: torch.nn.functional.scaled_dot_product_attention(q, key, value, is_causal=True)), "scaled_dot_product_attention, float32, no statistics")


def llama(dtype, name):
    n, d, heads, groups, k, inner = 4096, 4096, 32, 8, 128, 14336
    weights = [torch.randn(s, device=device, dtype=dtype) * 0.02 for s in (((heads + 2 * groups) * k, d), (d, heads * k), (2 * inner, d), (d, inner))]
    x = torch.randn(n, d, device=device, dtype=dtype)

    def layer(withMaps):
        q, key, value = torch.split(x @ weights[0].T, [heads * k, groups * k, groups * k], dim=1)
        q = q.view(n, heads, k).transpose(0, 1)
        key, value = (t.view(n, groups, k).transpose(0, 1).repeat_interleave(heads // groups, 0) for t in (key, value))
        if withMaps:
            scores = (q @ key.mT) * k**-0.5
            scores = scores.masked_fill(torch.ones(n, n, device=device, dtype=torch.bool).triu(1), float("-inf"))
            out = torch.softmax(scores.float(), -1).to(dtype) @ value
        else:
            out = torch.nn.functional.scaled_dot_product_attention(q[None], key[None], value[None], is_causal=True)[0]
        y = out.transpose(0, 1).reshape(n, heads * k) @ weights[1].T
        gate, up = torch.split(x @ weights[2].T, inner, dim=1)
        return y + (torch.nn.functional.silu(gate) * up) @ weights[3].T

    def model(withMaps):
        for _ in range(32):  # the same layer again and again: times don't depend on the numbers
            layer(withMaps)

    line(name, quickest(1, lambda: model(True)), "eager, maps made; 32 layers without norms and rotary positions")
    line(name, quickest(1, lambda: model(False)), "scaled_dot_product_attention, no maps; 32 layers without norms and rotary positions")


fused("spectra_gpt2_288_fused", 288, 64, 768)
fused("spectra_32x32_d4096_all_fused", 64, 128, 4096, layers=32)
deepseek("spectra_deepseek_v3_layer_all", 128, 128, (1536, 512, 512, 7168))
with torch.no_grad():
    llama(torch.float32, "llama_8b_32_layers_4096_float32")
    llama(torch.bfloat16, "llama_8b_32_layers_4096_bf16")
    dense("attention_causal_8192", 8192, 16, 64)

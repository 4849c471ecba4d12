# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices inside the blocks, AdamW for everything else, both with one learning rate.

Muon (K. Jordan, 2024) replaces a matrix's momentum by the nearest orthogonal matrix; scaled to the step size of Adam
(Liu et al. 2025) it learns these small models in clearly fewer steps.
"""
import torch


def orthogonal(g, steps=4):
    """Newton-Schulz iteration towards the orthogonal factor, for a stack [n, rows, cols] with rows <= cols."""
    x = g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.transpose(1, 2)
        b = -4.7750 * a + 2.0315 * (a @ a)
        x = 3.4445 * x + b @ x
    return x


class Muon:
    def __init__(self, params):
        self.stacks = {}
        for p in params:
            self.stacks.setdefault(tuple(p.shape), []).append(p)
        self.momentum = {shape: torch.zeros(len(ps), *shape) for shape, ps in self.stacks.items()}

    def step(self, lr, decay):  # decay: of the weights, a share of lr
        for shape, ps in self.stacks.items():
            grad = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in ps])
            m = self.momentum[shape].mul_(0.95).add_(grad)
            g = grad.add(m, alpha=0.95)
            tall = shape[0] > shape[1]
            update = orthogonal(g.transpose(1, 2) if tall else g)
            update = update.transpose(1, 2) if tall else update
            for p, u in zip(ps, update):
                p.data.mul_(1 - lr * decay).sub_(u, alpha=lr * 0.2 * max(shape) ** 0.5)


class Optimiser:
    def __init__(self, model, extra=(), decay=0.02):
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        seeing = [p for n, p in named if p.dim() == 2 and ".blocks." in n]
        reading = [p for n, p in named if p.dim() == 2 and ".layers." in n]
        inside = seeing + reading
        ids = {id(p) for p in inside}
        self.decay = decay
        self.muons = [(Muon(seeing), 1), (Muon(reading), 2.5)]
        rest = [p for _, p in named if id(p) not in ids] + list(extra)
        self.adam = torch.optim.AdamW(rest, betas=(0.9, 0.97), weight_decay=decay, foreach=True)
        self.params = inside + rest

    def step(self, lr, clip=1.0):
        norm = torch.nn.utils.clip_grad_norm_(self.params, clip)
        for group in self.adam.param_groups:
            group["lr"] = lr
        self.adam.step()
        for muon, boost in self.muons:
            muon.step(boost * lr, self.decay)
        for p in self.params:
            p.grad = None
        return norm

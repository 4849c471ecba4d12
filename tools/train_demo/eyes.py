# SPDX-License-Identifier: Apache-2.0
"""Dense supervision, in training only; the heads are dropped afterwards.

Every row that the vision tower hands over must tell what its 32 x 32 cell shows, and before the text model's last layer
each answer must tell where the objects are that it is about. Without them all is learnt through the answers' words alone,
which takes many times as many pictures.
"""
import torch
import torch.nn.functional as F
from torch import nn

from scenes import CLASSES, COLOUR_NAMES

N_CLASSES, N_COLOURS = len(CLASSES), len(COLOUR_NAMES)


class Heads(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cells = nn.ModuleList(Cells(c.dim) for _ in range(1 + len(c.deepstack)))
        self.gaze = nn.Sequential(nn.LayerNorm(c.dim), nn.Linear(c.dim, 8))


class Cells(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.head = nn.Linear(dim, 2 + N_CLASSES + N_COLOURS + 8)

    def forward(self, rows):
        """rows [pictures, cells, dim] -> covered, centre, class, colour, box, corners."""
        return self.head(rows).split([1, 1, N_CLASSES, N_COLOURS, 4, 4], -1)


def loss_and_scores(outputs, targets):
    """targets as batches.cell_targets gives them; scores: class, colour at centres, finding of centres, box error."""
    covered, centre, name, colour, box, corners = outputs
    on = targets[..., 0] >= 0
    mid = targets[..., 2] > 0.5
    t = targets[on]
    weight = torch.where(t[:, 2] > 0.5, 2.0, 0.5)
    weight = weight / weight.sum()
    name_loss = (F.cross_entropy(name[on], t[:, 0].long(), reduction="none") * weight).sum()
    colour_loss = (F.cross_entropy(colour[on], t[:, 1].long(), reduction="none") * weight).sum()
    box_loss = (F.smooth_l1_loss(box[on], t[:, 3:7], reduction="none", beta=0.1).sum(-1) * weight).sum()
    corner_loss = (F.smooth_l1_loss(corners[on], t[:, 7:], reduction="none", beta=0.02).sum(-1) * weight).sum()
    find = F.binary_cross_entropy_with_logits(covered[..., 0], on.float())
    find = find + 2 * F.binary_cross_entropy_with_logits(centre[..., 0], mid.float())
    with torch.no_grad():
        scores = {
            "class": (name[mid].argmax(-1) == targets[mid][:, 0]).float().mean(),
            "shape/digit": (name[mid].argmax(-1) == targets[mid][:, 0])[targets[mid][:, 0] < 14].float().mean(),
            "colour": (colour[mid].argmax(-1) == targets[mid][:, 1]).float().mean(),
            "centres": (((centre[..., 0] > 0) == mid).all(-1)).float().mean(),
            "box": (box[mid] - targets[mid][:, 3:7]).abs().mean(),
            "corners": (corners[mid] - targets[mid][:, 7:]).abs().mean(),
        }
    return name_loss + colour_loss + 2 * box_loss + 10 * corner_loss + find, {k: v.item() for k, v in scores.items()}


def gaze_loss(found, spans, weight):
    """found [answer tokens, 8]; spans: (kind, tokens, [(tokens, corners of up to two objects)]); also the mean error."""
    wanted = torch.zeros(len(found), 8)
    known = torch.zeros(len(found), 8)
    at = 0
    for n, gaze in (look for _, _, looks in spans for look in looks):
        for i, corners in enumerate(gaze):
            wanted[at : at + n, 4 * i : 4 * i + 4] = torch.tensor(corners)
            known[at : at + n, 4 * i : 4 * i + 4] = 1
        at += n
    known = known * weight[:, None]
    error = (found.detach() - wanted).abs()
    scale = known.sum().clamp(min=1)
    return 5 * (F.smooth_l1_loss(found, wanted, reduction="none", beta=0.02) * known).sum() / scale, ((error * known).sum() / scale).item()

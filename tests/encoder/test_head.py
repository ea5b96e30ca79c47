"""The linear head's written-out arithmetic against torch's own."""

import torch

from steps.data.readers import IGNORED
from steps.encoder import head


def test_gradient_equals_autograd_through_interpolate():
    torch.manual_seed(0)
    x, y = torch.randn(3, 16, 5), torch.randint(0, 4, (3, 32, 24), dtype=torch.uint8)
    w = torch.randn(5, 4, requires_grad=True)
    grid = (x @ w).transpose(1, 2).reshape(3, 4, 4, 4)
    up = torch.nn.functional.interpolate(grid, (32, 24), mode="bilinear", align_corners=False)
    torch.nn.functional.cross_entropy(up, y.long()).backward()
    w, slope = w.detach(), w.grad
    rows, columns = head.upsampler(4, 32), head.upsampler(4, 24)
    z, y = x.transpose(0, 1), y.permute(1, 2, 0)
    ours = head.logits(z, w, rows, columns)
    assert torch.allclose(ours.permute(3, 2, 0, 1), up, atol=1e-5)
    assert torch.allclose(head.gradient(z, y, w, rows, columns), slope, atol=1e-7)
    parts = [
        head.gradient(z, y[top::2, left::2], w, rows[top::2], columns[left::2])
        for top in (0, 1)
        for left in (0, 1)
    ]
    assert torch.allclose(torch.stack(parts).mean(0), slope, atol=1e-7)  # thinned: no bias


def test_ignored_pixels_count_as_in_torch():
    torch.manual_seed(1)
    x, y = torch.randn(2, 16, 5), torch.randint(0, 4, (2, 16, 16), dtype=torch.uint8)
    y[torch.rand(y.shape) < 0.4] = IGNORED
    w = torch.randn(5, 4, requires_grad=True)
    grid = (x @ w).transpose(1, 2).reshape(2, 4, 4, 4)
    up = torch.nn.functional.interpolate(grid, (16, 16), mode="bilinear", align_corners=False)
    torch.nn.functional.cross_entropy(up, y.long(), ignore_index=IGNORED).backward()
    sides = (head.upsampler(4, 16), head.upsampler(4, 16))
    z, y = x.transpose(0, 1), y.permute(1, 2, 0)
    assert torch.allclose(head.gradient(z, y, w.detach(), *sides), w.grad, atol=1e-7)
    nothing = head.gradient(z, torch.full_like(y, IGNORED), w.detach(), *sides)
    assert not nothing.any()


def test_training_equals_torchs_adamw():
    torch.manual_seed(0)
    x, y = 3 * torch.randn(8, 16, 5) + 1, torch.randint(0, 3, (8, 16, 16), dtype=torch.uint8)
    ours = head.fit(x, y, 3, rate=0.05, epochs=6, batch=8, seed=0, stride=1)
    flat = x.flatten(0, 1)
    z = torch.cat([(x - flat.mean(0)) / flat.std(0), torch.ones(8, 16, 1)], 2)
    w, b = (torch.zeros(n, 3, requires_grad=True) for n in (5, 1))
    groups = [{"params": [w]}, {"params": [b], "weight_decay": 0.0}]
    peer = torch.optim.AdamW(groups, lr=0.05, weight_decay=head.DECAY)
    curve = torch.optim.lr_scheduler.CosineAnnealingLR(peer, 6)
    for _ in range(6):
        grid = (z @ torch.cat([w, b])).transpose(1, 2).reshape(8, 3, 4, 4)
        up = torch.nn.functional.interpolate(grid, (16, 16), mode="bilinear")
        loss = torch.nn.functional.cross_entropy(up, y.long())
        peer.zero_grad()
        loss.backward()
        peer.step()
        curve.step()
    theirs = z @ torch.cat([w, b])
    assert torch.allclose(x @ ours[:-1] + ours[-1], theirs, atol=1e-3)

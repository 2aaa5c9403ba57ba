"""Train twistcluster/models/digit_finder.onnx: which digits are where in a photograph.

    pip install torch==2.13.0 scikit-learn scikit-image onnxruntime pillow
    OMP_NUM_THREADS=1 python tools/train_digit_finder.py

A small convolutional network (stride 8, a heat map of each digit and the distances to the four sides of its box) learns
from digits pasted into photographs. Trained with torch 2.13.0 on one core, in 8 to 10 minutes; the seed decides what it
sees. Prints the quality on digits and photographs that were held out.
"""

import argparse
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.digit_pictures import TRAINING_PHOTOS, f1, found_right, held_out_pictures, pasted, photo  # noqa: E402

TARGET = ROOT / "twistcluster" / "models" / "digit_finder.onnx"
FRAME = 320
"""Pixels of the model's input, across and down."""
CROP = 192
"""What is trained on: a part of such a frame."""
STRIDE = 8
STEPS = 5000
BATCH = 12
SEED = 6


def block(before: int, after: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution, normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, dilation * (kernel // 2), dilation, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class Finder(nn.Module):
    """Grey pictures (N, 1, H, W), 0 to 1 -> logits (N, 10, H/8, W/8) and distances to the sides in pixels (N, 4, …)."""

    def __init__(self, wide: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            block(1, 16, kernel=5, stride=2), block(16, 32, stride=2), block(32, 32), block(32, wide, stride=2)
        )
        self.body = nn.ModuleList(block(wide, wide, dilation=dilation) for dilation in (1, 2, 1, 2))
        self.labels = nn.Sequential(block(wide, wide), nn.Conv2d(wide, 10, 1))
        self.sides = nn.Conv2d(wide, 4, 1)
        nn.init.constant_(self.labels[1].bias, -4.0)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        inside = self.stem(pictures - 0.5)
        for one in self.body:
            inside = inside + one(inside)
        return self.labels(inside), self.sides(inside).clamp(-4, 4).exp() * 16


class Exported(nn.Module):
    """What is shipped: (N, 1, 320, 320) -> (N, 4 + 10, 1600), as YOLOv8 gives them: centre and size, and a score each.

    Only the highest score among five by five cells stays: two labels for one digit would be one too many.
    """

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self.finder = finder
        y, x = np.mgrid[0:FRAME:STRIDE, 0:FRAME:STRIDE].astype("f4") + STRIDE / 2
        self.register_buffer("x", torch.tensor(x))
        self.register_buffer("y", torch.tensor(y))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        logits, sides = self.finder(images)
        heat = logits.sigmoid()
        highest = functional.max_pool2d(heat.amax(1, keepdim=True), 5, 1, 2)
        heat = heat * (heat >= highest).float()
        left, top, right, bottom = (
            self.x - sides[:, 0],
            self.y - sides[:, 1],
            self.x + sides[:, 2],
            self.y + sides[:, 3],
        )
        boxes = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)
        return torch.cat([boxes, heat], 1).flatten(2)


def sample(rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture (1, CROP, CROP), its heat map (10, …), its sides (4, …), and where these count (…)."""
    image = photo(rng.choice(TRAINING_PHOTOS))
    scale = FRAME * rng.uniform(0.7, 2.2) / max(image.size)
    wide = max(round(image.width * scale), CROP)
    high = max(round(image.height * scale), CROP)
    left, top = rng.randint(0, wide - CROP), rng.randint(0, high - CROP)
    box = (
        left * image.width / wide,
        top * image.height / high,
        (left + CROP) * image.width / wide,
        (top + CROP) * image.height / high,
    )
    part = image.resize((CROP, CROP), Image.Resampling.BILINEAR, box, reducing_gap=2)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sides = [round(22 * (90 / 22) ** rng.random()) for _ in range(rng.randint(0, 5))]
    made = pasted(part, sorted(sides, reverse=True), rng, held_out=False, bent=True)
    pixels = np.asarray(made.picture.convert("L"), "f4") / 255
    pixels = np.clip((pixels - 0.5) * rng.uniform(0.7, 1.15) + 0.5 + rng.uniform(-0.1, 0.1), 0, 1)
    cells = CROP // STRIDE
    heat, distances, counts = (
        np.zeros(shape, "f4") for shape in ((10, cells, cells), (4, cells, cells), (cells, cells))
    )
    y, x = np.mgrid[0:CROP:STRIDE, 0:CROP:STRIDE].astype("f4") + STRIDE / 2
    for label, (left, top, right, bottom) in zip(made.labels, made.boxes, strict=True):
        middle_x, middle_y, side = (left + right) / 2, (top + bottom) / 2, bottom - top
        cell_x, cell_y = int(middle_x // STRIDE), int(middle_y // STRIDE)
        middle_x, middle_y = (cell_x + 0.5) * STRIDE, (cell_y + 0.5) * STRIDE
        hill = np.exp(-((x - middle_x) ** 2 + (y - middle_y) ** 2) / (2 * max(0.12 * side, 5.0) ** 2))
        heat[int(label)] = np.maximum(heat[int(label)], hill)
        near = hill > 0.4
        distances[:, near] = np.stack([x - left, y - top, right - x, bottom - y])[:, near]
        counts[near] = hill[near]
    return pixels[None], heat, distances, counts


def loss_of(
    logits: torch.Tensor, sides: torch.Tensor, heat: torch.Tensor, distances: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """CenterNet's focal loss of the heat map, and 1 - IoU of the boxes near the middles."""
    right = functional.logsigmoid(logits)
    wrong = functional.logsigmoid(-logits)
    guess = logits.sigmoid()
    peaks = (heat == 1).float()
    hits = (right * (1 - guess) ** 2 * peaks).sum()
    misses = (wrong * guess**2 * (1 - heat) ** 4 * (1 - peaks)).sum()
    focal = -(hits + misses) / peaks.sum().clamp(min=1)
    true = distances.clamp(min=0.1)  # a middle's neighbour may lie outside of a narrow 1
    width = torch.minimum(sides[:, 0], true[:, 0]) + torch.minimum(sides[:, 2], true[:, 2])
    height = torch.minimum(sides[:, 1], true[:, 1]) + torch.minimum(sides[:, 3], true[:, 3])
    both = width * height
    either = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3]) + (true[:, 0] + true[:, 2]) * (
        true[:, 1] + true[:, 3]
    )
    overlap = both / (either - both)
    return focal + 2 * ((1 - overlap) * counts).sum() / counts.sum().clamp(min=1)


def train(steps: int) -> Finder:
    """Train on one core."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)
    finder = Finder()
    print(f"{sum(one.numel() for one in finder.parameters())} weights")
    optimizer = torch.optim.AdamW(finder.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    began, recent = time.monotonic(), []
    for step in range(steps):
        batch = [torch.tensor(np.stack(parts)) for parts in zip(*(sample(rng) for _ in range(BATCH)), strict=True)]
        loss = loss_of(*finder(batch[0]), *batch[1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(finder.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 99:
            print(f"{step + 1:5} steps, {time.monotonic() - began:5.0f} s, loss {np.mean(recent):.3f}", flush=True)
            recent = []
    return finder.eval()


def export(finder: Finder, target: Path) -> None:
    """Write the model, with a batch of any size."""
    torch.onnx.export(
        Exported(finder).eval(),
        (torch.zeros(1, 1, FRAME, FRAME),),
        str(target),
        input_names=["images"],
        output_names=["found"],
        dynamic_axes={"images": {0: "batch"}, "found": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def quality(count: int = 150) -> None:
    """F1 at an IoU of 0.5, on photographs and digits that were held out, through the package as users have it."""
    from twistcluster import models
    from twistcluster.images.recognition.recognizer import Recognizer

    recognizer = Recognizer(models.digit_finder)
    right = found = there = 0
    for one in held_out_pictures(count):
        (result,) = recognizer.recognize([recognizer.array(one.picture)], [one.picture.size])
        right += found_right(one, result.labels, result.boxes)
        found += len(result.labels)
        there += len(one.labels)
    print(f"{count} photographs, {there} digits: {found} found, {right} right, F1 {f1(right, found, there):.4f}")


def main() -> None:
    """Train, write, measure."""
    parser = argparse.ArgumentParser(description="Train the finder of digits.")
    parser.add_argument("--steps", type=int, default=STEPS)
    export(train(parser.parse_args().steps), TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
    quality()


if __name__ == "__main__":
    main()

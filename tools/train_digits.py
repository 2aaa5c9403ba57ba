"""Train twistcluster/models/digits.onnx: which digit a picture shows.

    pip install torch==2.13.0 scikit-learn scikit-image onnxruntime pillow
    OMP_NUM_THREADS=1 python tools/train_digits.py

A small convolutional network learns from scikit-learn's digits: as they are, enlarged, turned a little, light on dark and
dark on light. Trained with torch 2.13.0 on one core, in about a minute; the seed decides what it sees. Prints the quality
on digits that were held out.
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

from tools.digit_pictures import digits  # noqa: E402

TARGET = ROOT / "twistcluster" / "models" / "digits.onnx"
FRAME = 16
"""Pixels of the model's input, across and down."""
EPOCHS = 40
BATCH = 64
SEED = 6


def network() -> nn.Sequential:
    """Grey pictures (N, 1, 16, 16), 0 to 1 -> logits (N, 10)."""
    layers: list[nn.Module] = []
    for before, after, stride in ((1, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 4 * 4, 10))


def sample(digit: np.ndarray, rng: random.Random) -> np.ndarray:
    """A digit as somebody may have it: (FRAME, FRAME), 0 to 1."""
    image = Image.fromarray(digit)
    if rng.random() < 0.6:  # a larger picture, as users have them
        side = rng.choice((16, 24, 32, 64))
        how = rng.choice((Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST))
        image = image.resize((side, side), how)
    if rng.random() < 0.7:
        image = image.resize((64, 64), Image.Resampling.BILINEAR)
        turn, shear = rng.uniform(-10, 10) * np.pi / 180, rng.uniform(-0.15, 0.15)
        scale_x, scale_y = rng.uniform(0.88, 1.12), rng.uniform(0.88, 1.12)
        matrix = np.array([[np.cos(turn) * scale_x, np.sin(turn) + shear], [-np.sin(turn), np.cos(turn) * scale_y]])
        move = np.array([32, 32]) - matrix @ np.array([32 + rng.uniform(-4, 4), 32 + rng.uniform(-4, 4)])
        data = (matrix[0, 0], matrix[0, 1], move[0], matrix[1, 0], matrix[1, 1], move[1])
        image = image.transform((64, 64), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    pixels = np.asarray(image.resize((FRAME, FRAME), Image.Resampling.BILINEAR), "f4") / 255
    paper = rng.uniform(0, 0.25) if rng.random() < 0.3 else 0.0
    pixels = paper + pixels * (rng.uniform(0.6, 1.0) if rng.random() < 0.3 else 1.0) * (1 - paper)
    return 1 - pixels if rng.random() < 0.5 else pixels


def train(epochs: int) -> nn.Sequential:
    """Train on one core."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = random.Random(SEED)
    pictures, targets = digits(held_out=False)
    model = network()
    print(f"{sum(one.numel() for one in model.parameters())} weights")
    steps = epochs * (len(targets) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    began, losses = time.monotonic(), []
    for epoch in range(epochs):
        order = list(range(len(targets)))
        rng.shuffle(order)
        for first in range(0, len(order) - BATCH + 1, BATCH):
            some = order[first : first + BATCH]
            batch = torch.tensor(np.stack([sample(pictures[one], rng) for one in some])[:, None])
            loss = functional.cross_entropy(model(batch), torch.tensor(targets[some]), label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 10 == 9:
            print(
                f"{epoch + 1:3} epochs, {time.monotonic() - began:4.0f} s, loss {np.mean(losses[-20:]):.3f}", flush=True
            )
    return model.eval()


def export(model: nn.Module, target: Path) -> None:
    """Write the model, with a batch of any size."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, FRAME, FRAME),),
        str(target),
        input_names=["images"],
        output_names=["digits"],
        dynamic_axes={"images": {0: "batch"}, "digits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def quality() -> None:
    """Accuracy on digits that were held out, through the package as users have it."""
    from twistcluster import models
    from twistcluster.images.recognition.recognizer import Recognizer

    recognizer = Recognizer(models.digits)
    pictures, targets = digits(held_out=True)
    for side in (8, 64):
        for how in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC) if side != 8 else (Image.Resampling.BOX,):
            for inverted in (False, True):
                images = [Image.fromarray(255 - one if inverted else one).resize((side, side), how) for one in pictures]
                answers = recognizer.recognize([recognizer.array(one) for one in images], [one.size for one in images])
                right = np.mean([answer.label == str(one) for answer, one in zip(answers, targets, strict=True)])
                colours = "dark on light" if inverted else "light on dark"
                print(f"{side} x {side} {how.name.lower():8} {colours}: {right:.4f} of {len(targets)} held out")


def main() -> None:
    """Train, write, measure."""
    parser = argparse.ArgumentParser(description="Train the classifier of digits.")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    export(train(parser.parse_args().epochs), TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
    quality()


if __name__ == "__main__":
    main()

"""Scores a registered model on a split of a data set, each image at its own size.

python docs/measurements/score.py models:/pet-unet/1 PATH test      (or gate)
"""

import sys

import torch

from segmentation.evaluation import Evaluation, judge
from segmentation.pets import read_list
from segmentation.pixels import read_files
from segmentation.sources import find_source
from segmentation.splits import in_gate
from segmentation.tracking.models import load
from segmentation.tracking.store import connect

uri, data, name = sys.argv[1:]
connect()
root = find_source(data).root
examples = read_list(root, "test" if name == "test" else "trainval")
if name == "gate":
    examples = [example for example in examples if in_gate(example)]
files = ((example, read_files(example)) for example in examples)
evaluation = Evaluation.of(name, judge(load(uri), files, "pet", torch.device("cpu")))
mean, (low, high) = evaluation.counts.mean(), evaluation.interval()
print(
    f"{uri} {name}: Dice {mean.dice:.4f} ({low:.3f} to {high:.3f}), IoU {mean.iou:.4f}, accuracy "
    f"{mean.accuracy:.4f}, {len(evaluation.counts)} images; all pet: Dice "
    f"{evaluation.counts.all_pet().mean().dice:.4f}, all background: accuracy "
    f"{evaluation.counts.all_background().mean().accuracy:.4f}"
)

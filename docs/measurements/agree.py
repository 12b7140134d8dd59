"""Computes `evaluate`'s figures again, with scikit-learn, from the masks that `predict` wrote.

python docs/measurements/agree.py PATH MASKS RUN        (where both were run)

MASKS is the output of `predict`, RUN the id of the evaluation's run on `test`.
"""

import sys
from pathlib import Path

import mlflow
import numpy as np
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

data, masks, run_id = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
lines = (data / "annotations" / "test.txt").read_text().splitlines()
names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
scores: dict[str, list[float]] = {"dice": [], "iou": [], "accuracy": []}
for name in names:
    said = np.array(Image.open(masks / "masks" / f"{name}.png")).ravel() == 255
    truth = np.array(Image.open(data / "annotations" / "trimaps" / f"{name}.png")).ravel() != 2
    scores["dice"].append(f1_score(truth, said))
    scores["iou"].append(jaccard_score(truth, said))
    scores["accuracy"].append(accuracy_score(truth, said))
figures = mlflow.MlflowClient().get_run(run_id).data.metrics
for metric, values in scores.items():
    told, again = figures[f"test/{metric}"], float(np.mean(values))
    print(f"{metric}: evaluate {told:.9f}, scikit-learn {again:.9f}, {abs(told - again):.1e} apart")
print(f"{len(names)} images; evaluate says {figures['test/images']:.0f}")

"""Trains a logistic regression and gradient boosting on a file of `mdp export features`: INPUT.csv LABEL FOLDER. Writes
FOLDER/logistic.pkl and FOLDER/boosted.pkl; what is predicted is whether the label is above 0."""

import pickle
import sys
from pathlib import Path

import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

source, label, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
FEATURES = ["ret_30s", "momentum", "rsi", "order_imbalance", "vwap_deviation_bps"]
frame = pd.read_csv(source).dropna(subset=[*FEATURES, label])
rises = (frame[label] > 0).astype(int)
for name, model in {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "boosted": GradientBoostingClassifier(n_estimators=30, random_state=0),
}.items():
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(model.fit(frame[FEATURES], rises)))
print(len(frame))

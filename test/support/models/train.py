"""Trains models on made rows, for the tests of `mdp models`: into the folder named, NAME.pkl, NAME.csv (features, followed, and what
the model says of each row) and metrics.json (scikit-learn's own scores of the classifiers and of the regression on NAME.csv)."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder = Path(sys.argv[1])
rng = np.random.default_rng(7)
FEATURES = ["ret_30s", "rsi", "spread_bps", "price"]
rows = 1500
frame = pd.DataFrame(
    {
        "ret_30s": rng.normal(size=rows) * 1e-3,
        "rsi": rng.uniform(0, 100, size=rows),
        "spread_bps": rng.exponential(2, size=rows),
        "price": np.exp(rng.normal(size=rows)) * 100,
    }
)
drift = 900 * frame.ret_30s + (frame.rsi - 50) / 40 + rng.normal(size=rows)
three = np.where(drift > 0.8, 1, np.where(drift < -0.8, -1, 0))
two = (drift > 0).astype(int)
moves = drift * 1e-3

columns = ColumnTransformer([("scale", StandardScaler(), ["ret_30s", "rsi", "spread_bps"])], remainder="drop")
models = {
    "logistic": (make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, three), three),
    "boosted": (GradientBoostingClassifier(n_estimators=60, random_state=0).fit(frame, two), two),
    "columns": (make_pipeline(columns, LogisticRegression()).fit(frame, three), three),
    "trees": (HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(frame, moves), moves),
}
scores = {}
# of a cold row, and of one that nothing followed, there is nothing to compare
COLD, OPEN = 3, 5
kept = np.array([at not in (COLD, OPEN) for at in range(rows)])
for name, (model, truths) in models.items():
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
    truths, said = np.asarray(truths), model.predict(frame)
    out = frame.assign(followed=truths, said=said)
    followed, predicted = truths[kept], said[kept]
    if hasattr(model, "predict_proba"):
        probabilities = model.predict_proba(frame)
        for at in range(probabilities.shape[1]):
            out[f"p{at}"] = probabilities[:, at]
        probabilities = probabilities[kept]
        binary = probabilities.shape[1] == 2
        hot = (followed[:, None] == model.classes_[None, :]).astype(float)
        positive = probabilities[:, 1] if binary else probabilities
        scores[name] = {
            "accuracy": metrics.accuracy_score(followed, predicted),
            "auc": metrics.roc_auc_score(followed, positive, multi_class="ovr", average="macro"),
            "brier": metrics.brier_score_loss(followed, positive)
            if binary
            else float(((probabilities - hot) ** 2).sum(axis=1).mean()),
            "perClass": [
                {
                    "class": int(each),
                    "followed": int((followed == each).sum()),
                    "predicted": int((predicted == each).sum()),
                    "right": int(((predicted == each) & (followed == each)).sum()),
                }
                for each in model.classes_
            ],
        }
    else:
        scores[name] = {
            "r2": metrics.r2_score(followed, predicted),
            "mae": metrics.mean_absolute_error(followed, predicted),
        }
    out.loc[COLD, "rsi"] = np.nan
    out.loc[OPEN, "followed"] = np.nan
    out.to_csv(folder / f"{name}.csv", index=False)
(folder / "metrics.json").write_text(json.dumps(scores))

# what cannot be converted
words = np.where(two == 1, "buy", "sell")
(folder / "words.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(frame, words)))
(folder / "array.pkl").write_bytes(pickle.dumps(Ridge().fit(frame.to_numpy(), moves)))

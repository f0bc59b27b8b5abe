"""Converts a scikit-learn model to ONNX; `mdp models convert` runs it and says what the options mean.

Writes the model and its side file only when both give the same outputs on the rows that are compared, and prints what it did as one
JSON object. Exit codes: 0 written, 1 not, with one line on standard error.
"""

import argparse
import hashlib
import json
import os
import pickle
import sys
import warnings

INSTALL = "python3 -m pip install scikit-learn skl2onnx onnxruntime pandas 'protobuf<7'"
ROWS_MAX = 100_000
RANDOM_ROWS = 1_000
# outputs are compared to this times max(1, |output|)
TOLERANCE = 1e-6


def fail(message):
    print(" ".join(str(message).split()), file=sys.stderr)
    sys.exit(1)


try:
    import numpy as np
    import onnx
    import onnxruntime
    import pandas as pd
    import skl2onnx
    import sklearn
    from onnx import helper
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
except ImportError as error:
    fail(f"{sys.executable} lacks {error.name}: {INSTALL}")


def main():
    options = arguments()
    model, notes = load(options.model)
    features = features_of(model, options.features)
    classes = classes_of(model)
    frame, source = rows_of(options.data, features)
    expected = expected_of(model, frame, classes)
    problems = []
    for kind, width, convert in candidates(model, features):
        try:
            converted = convert()
            difference, row = compare(converted, frame, expected, classes, width)
        except Exception as error:  # which operators take doubles is known by trying
            problems.append(f"{kind}: {type(error).__name__} {str(error)[:300]}")
            continue
        if difference <= TOLERANCE:
            written = write(options, converted, kind, features, classes, difference, source, len(frame))
            print(json.dumps({**written, "notes": notes}))
            return
        problems.append(f"{kind}: outputs differ by {difference:.3g} in row {row} of {source}")
    fail(f"{options.model} is not converted. {'; '.join(problems)}")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--data")
    parser.add_argument("--features")
    parser.add_argument("--output", required=True)
    parser.add_argument("--side", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--model-version")
    return parser.parse_args()


def load(path):
    """The model, and what was warned of: above all that another version of scikit-learn made it."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model = pickle.loads(content)
            except Exception:
                import joblib

                model = joblib.load(path)
    except ModuleNotFoundError as error:
        fail(f"{path} needs the module {error.name}, which this python does not have")
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror or error}")
    except Exception as error:
        fail(f"{path} is not a pickle that can be loaded: {type(error).__name__} {error}")
    if not hasattr(model, "predict"):
        fail(f"{path} holds a {type(model).__name__}, which is no fitted model or Pipeline")
    return model, sorted({" ".join(str(warning.message).split()) for warning in caught})


def features_of(model, given):
    known = getattr(model, "feature_names_in_", None)
    if given is None:
        if known is None:
            fail("the model knows no names of its features (it was fitted on an array): give --features a,b,c")
        names = [str(name) for name in known]
    else:
        names = [name.strip() for name in given.split(",")]
        if known is not None and names != [str(name) for name in known]:
            fail(f"--features is {','.join(names)}, but the model was fitted on {','.join(map(str, known))}")
    count = getattr(model, "n_features_in_", len(names))
    if count != len(names):
        fail(f"the model has {count} features, and {len(names)} names are given: {','.join(names)}")
    return names


def classes_of(model):
    """Numbers, in the order of the probabilities; None of a regression."""
    if not sklearn.base.is_classifier(model):
        return None
    if not hasattr(model, "predict_proba"):
        fail(f"{type(model).__name__} gives no probabilities (predict_proba): it has no score")
    classes = model.classes_
    if not np.issubdtype(np.asarray(classes).dtype, np.number):
        fail(f"classes are {', '.join(map(str, classes))}: fit it on numbers, such as -1, 0, 1, which become the value of the signal")
    return [value.item() for value in np.asarray(classes)]


def rows_of(path, features):
    """The rows to compare, doubles without NaN, and what to call them."""
    if path is None:
        random = np.random.default_rng(0)
        scales = 10.0 ** random.integers(-3, 3, size=(RANDOM_ROWS, 1))
        return pd.DataFrame(random.normal(size=(RANDOM_ROWS, len(features))) * scales, columns=features), "random rows"
    try:
        frame = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    except ImportError:
        fail("reading Parquet needs pyarrow: python3 -m pip install pyarrow")
    except Exception as error:
        fail(f"{path} cannot be read: {error}")
    missing = [name for name in features if name not in frame.columns]
    if missing:
        fail(f"{path} lacks {', '.join(missing)} (it has {', '.join(map(str, frame.columns))})")
    try:
        frame = frame[features].astype("float64")
    except (TypeError, ValueError) as error:
        fail(f"{path}: {error}")
    frame = frame[np.isfinite(frame).all(axis=1)]
    if frame.empty:
        fail(f"{path} has no row with all of {', '.join(features)}")
    return frame.iloc[:: max(1, len(frame) // ROWS_MAX)], path


def inputs_of(model, frame):
    return frame if hasattr(model, "feature_names_in_") else frame.to_numpy()


def expected_of(model, frame, classes):
    inputs = inputs_of(model, frame)
    if classes is not None:
        return np.asarray(model.predict(inputs)), np.asarray(model.predict_proba(inputs))
    numbers = np.asarray(model.predict(inputs), dtype="float64")
    if numbers.ndim > 1 and numbers.shape[1] != 1:
        fail(f"the model predicts {numbers.shape[1]} numbers for a row: a signal has one value")
    return None, numbers.reshape(-1, 1)


def candidates(model, features):
    """
    Doubles where the operators take them, but first floats where the model itself rounds to them. A ColumnTransformer by names has an
    input for each column, which are joined to one; trees take doubles and give floats.
    """
    options = {id(model): {"zipmap": False}} if sklearn.base.is_classifier(model) else None
    kinds = [("float64", DoubleTensorType, np.float64), ("float32", FloatTensorType, np.float32)]
    for kind, tensor, numpy in reversed(kinds) if rounds(model) else kinds:

        def matrix(tensor=tensor):
            initial = [("features", tensor([None, len(features)]))]
            return skl2onnx.convert_sklearn(model, initial_types=initial, options=options)

        def columns(tensor=tensor):
            initial = [(name, tensor([None, 1])) for name in features]
            return joined(skl2onnx.convert_sklearn(model, initial_types=initial, options=options), features)

        for convert in (matrix, columns) if needs_columns(model) else (matrix,):
            said = kind if convert is matrix else f"{kind} by column"
            yield said, numpy, convert
            if numpy is np.float64:
                yield f"{said} in trees", numpy, lambda convert=convert: with_trees(convert(), model)


def steps_of(model):
    return [step for _, step in getattr(model, "steps", [])] or [model]


def rounds(model):
    """All trees of scikit-learn but the histogram ones compare float32."""
    last = steps_of(model)[-1]
    return any(hasattr(each, "tree_") for each in np.ravel(getattr(last, "estimators_", [last])))


def needs_columns(model):
    return any(type(step).__name__ == "ColumnTransformer" for step in steps_of(model))


def with_trees(converted, model):
    """Outputs declared as what trees give, and the thresholds of histogram trees as the doubles that they are."""
    graph = converted.graph
    for value in graph.output:
        if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    thresholds = thresholds_of(model)
    for node in graph.node if thresholds else []:
        found = {attribute.name: attribute for attribute in node.attribute}
        if "nodes_values" not in found:
            continue
        values = [
            0.0 if mode == b"LEAF" else exactly(thresholds, feature, value)
            for feature, value, mode in zip(
                found["nodes_featureids"].ints, found["nodes_values"].floats, found["nodes_modes"].strings
            )
        ]
        tensor = helper.make_tensor("thresholds", onnx.TensorProto.DOUBLE, [len(values)], values)
        node.attribute.remove(found["nodes_values"])
        node.attribute.append(helper.make_attribute("nodes_values_as_tensor", tensor))
        for opset in converted.opset_import:
            # the first one that has this attribute
            if opset.domain == "ai.onnx.ml":
                opset.version = max(3, opset.version)
    return converted


def thresholds_of(model):
    """By feature and float32: the doubles that are rounded to it."""
    thresholds = {}
    for step in steps_of(model):
        for predictors in getattr(step, "_predictors", []):
            for node in (node for predictor in predictors for node in predictor.nodes if not node["is_leaf"]):
                key = int(node["feature_idx"]), np.float32(node["num_threshold"])
                thresholds.setdefault(key, set()).add(float(node["num_threshold"]))
    return thresholds


def exactly(thresholds, feature, value):
    (threshold,) = thresholds.get((feature, np.float32(value)), ())
    return threshold


def joined(converted, features):
    """One input `features` in place of one for each of them."""
    graph = converted.graph
    kind = graph.input[0].type.tensor_type.elem_type
    found = {value.name for value in graph.input}
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("features", kind, [None, len(features)]))
    # skl2onnx leaves columns out that no transformer takes
    nodes = []
    for at, name in enumerate(features):
        if name not in found:
            continue
        graph.initializer.append(helper.make_tensor(f"mdp_at_{at}", onnx.TensorProto.INT64, [1], [at]))
        nodes.append(helper.make_node("Gather", ["features", f"mdp_at_{at}"], [name], axis=1))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes + rest)
    onnx.checker.check_model(converted)
    return converted


def outputs_of(session, classes):
    """Names of the number or the probabilities, and of the decision."""
    names = [output.name for output in session.get_outputs()]
    if classes is None:
        return names[0], None
    return names[1], names[0]


def compare(converted, frame, expected, classes, numpy):
    """The greatest difference, relative to max(1, |output|), and the row that has it; a decision of another class counts as 1."""
    session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    output, label = outputs_of(session, classes)
    found = session.run(None, {"features": frame.to_numpy().astype(numpy)})
    found = dict(zip([value.name for value in session.get_outputs()], found))
    labels, numbers = expected
    actual = np.asarray(found[output], dtype="float64").reshape(numbers.shape)
    with np.errstate(invalid="ignore"):
        differences = (np.abs(actual - numbers) / np.maximum(1, np.abs(numbers))).max(axis=1)
    differences = np.where(np.isfinite(differences), differences, np.inf)
    if label is not None:
        ordered = np.sort(numbers, axis=1)
        tied = ordered[:, -1] - ordered[:, -2] <= 2 * TOLERANCE
        differences = np.where((found[label] != labels) & ~tied, np.maximum(differences, 1), differences)
    row = int(np.argmax(differences))
    return float(differences[row]), row


def write(options, converted, kind, features, classes, difference, source, rows):
    content = converted.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    output, label = outputs_of(session, classes)
    with open(options.model, "rb") as file:
        pickled = hashlib.sha256(file.read()).hexdigest()
    side = {
        "name": options.name,
        "version": options.model_version or pickled[:12],
        "features": features,
        "input": "features",
        "output": output,
        **({} if classes is None else {"label_output": label, "classes": classes}),
        "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        "about": {
            "converted_from": os.path.basename(options.model),
            "pickle_sha256": pickled,
            "inputs": kind,
            "rows_compared": rows,
            "rows_from": os.path.basename(source),
            "greatest_difference": difference,
            "scikit_learn": sklearn.__version__,
            "skl2onnx": skl2onnx.__version__,
        },
    }
    # a service that watches the files reads neither half-written; the digest tells it when only one is there
    replace(options.output, content)
    replace(options.side, (json.dumps(side, indent=2) + "\n").encode())
    return {"model": options.output, "side_file": options.side, **side, "about": side["about"]}


def replace(path, content):
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path + ".part", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".part", path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror or error}")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()

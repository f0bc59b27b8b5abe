/** How good predictions were: compared with what followed. Pure; the same functions serve `mdp models score` and metrics. */

export interface ClassifierScore {
  rows: number;
  /** part of the rows whose class was right */
  accuracy: number;
  /** area under the ROC curve, ties half: of the higher class of two, of more the mean of one against the rest; null: one class alone followed */
  auc: number | null;
  /** mean squared error of the probabilities: of the higher class of two, of more summed over the classes */
  brier: number;
  /** by class, in the order of `classes` */
  perClass: { class: number; followed: number; predicted: number; right: number }[];
}

export interface RegressionScore {
  rows: number;
  /** null: what followed was always the same */
  r2: number | null;
  /** mean absolute error */
  mae: number;
}

/**
 * @param classes of the model
 * @param followed n: the class that followed, each one of `classes`
 * @param predicted n: the class that was predicted
 * @param probabilities n × classes
 * @throws RangeError without rows, or with a class that is none of these
 */
export function scoreClassifier(
  classes: readonly number[],
  followed: ArrayLike<number>,
  predicted: ArrayLike<number>,
  probabilities: ArrayLike<number>,
): ClassifierScore {
  const rows = followed.length;
  const width = classes.length;
  if (rows === 0) throw new RangeError('there are no rows to compare');
  const perClass = classes.map((each) => ({ class: each, followed: 0, predicted: 0, right: 0 }));
  const truths = new Int32Array(rows);
  // of two classes only the higher one counts, as is usual
  const counted = width === 2 ? [classes[1] > classes[0] ? 1 : 0] : [...classes.keys()];
  let right = 0;
  let squares = 0;
  for (let row = 0; row < rows; row += 1) {
    const truth = placeOf(classes, followed[row]);
    const said = placeOf(classes, predicted[row]);
    truths[row] = truth;
    perClass[truth].followed += 1;
    perClass[said].predicted += 1;
    if (truth === said) perClass[truth].right += 1;
    if (truth === said) right += 1;
    for (const at of counted) squares += (probabilities[row * width + at] - (at === truth ? 1 : 0)) ** 2;
  }
  const areas = counted
    .map((at) =>
      areaUnderCurve(
        Float64Array.from({ length: rows }, (_, row) => probabilities[row * width + at]),
        (row) => truths[row] === at,
      ),
    )
    .filter((area) => area !== null);
  const auc = areas.length === 0 ? null : areas.reduce((sum, area) => sum + area, 0) / areas.length;
  return { rows, accuracy: right / rows, auc, brier: squares / rows, perClass };
}

/** @throws RangeError without rows */
export function scoreRegression(followed: ArrayLike<number>, predicted: ArrayLike<number>): RegressionScore {
  const rows = followed.length;
  if (rows === 0) throw new RangeError('there are no rows to compare');
  let mean = 0;
  for (let row = 0; row < rows; row += 1) mean += (followed[row] - mean) / (row + 1);
  let [residual, total, absolute] = [0, 0, 0];
  for (let row = 0; row < rows; row += 1) {
    const error = followed[row] - predicted[row];
    residual += error ** 2;
    absolute += Math.abs(error);
    total += (followed[row] - mean) ** 2;
  }
  return { rows, r2: total === 0 ? null : 1 - residual / total, mae: absolute / rows };
}

/**
 * The class of a number that followed, such as a return: of two classes the higher one above the threshold; of three the highest
 * above it, the lowest below its negative, else the middle one.
 *
 * @throws RangeError for another number of classes
 */
export function classOfNumber(classes: readonly number[], value: number, threshold: number): number {
  const [low, middle, high] = [...classes].sort((a, b) => a - b);
  if (classes.length === 2) return value > threshold ? middle : low;
  if (classes.length !== 3)
    throw new RangeError(`a threshold divides into 2 or 3 classes, not ${classes.length}`);
  if (value > threshold) return high;
  return value < -threshold ? low : middle;
}

/** By the ranks of Mann and Whitney; null: all are positive, or none is. */
function areaUnderCurve(scores: Float64Array, isPositive: (row: number) => boolean): number | null {
  const order = Uint32Array.from(scores.keys()).sort((a, b) => scores[a] - scores[b]);
  let positives = 0;
  let ranks = 0;
  for (let from = 0; from < order.length;) {
    let to = from;
    let ofThese = 0;
    while (to < order.length && scores[order[to]] === scores[order[from]]) {
      if (isPositive(order[to])) ofThese += 1;
      to += 1;
    }
    // equal scores share the mean of their ranks
    ranks += ofThese * ((from + 1 + to) / 2);
    positives += ofThese;
    from = to;
  }
  const negatives = order.length - positives;
  if (positives === 0 || negatives === 0) return null;
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

function placeOf(classes: readonly number[], value: number): number {
  const at = classes.indexOf(value);
  if (at < 0) throw new RangeError(`${value} is none of the classes ${classes.join(', ')}`);
  return at;
}

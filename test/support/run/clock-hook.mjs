// Loaded by --import: the clock of the machine is wrong by CLOCK_AHEAD_MS, in every thread.
const Real = Date;
const aheadMs = Number(process.env.CLOCK_AHEAD_MS);

globalThis.Date = class extends Real {
  constructor(...given) {
    if (given.length === 0) super(Real.now() + aheadMs);
    else super(...given);
  }

  static now() {
    return Real.now() + aheadMs;
  }
};

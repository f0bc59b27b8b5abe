/** Exit codes of all programs; 0 is success, also after a shutdown by signal. */

/** The program failed, or its check found problems. */
export const EXIT_FAILED = 1;
/** A mistake in the command line or the configuration. systemd does not restart on it: only an operator can fix it. */
export const EXIT_USAGE = 2;
/** Ended at once by a second signal: 128 + the signal's number, as a shell reports it. */
export const EXIT_SIGINT = 130;
export const EXIT_SIGTERM = 143;

// Package load drives producers against anything that acknowledges records,
// measures what they see, and compares several such things fairly.
//
// # What is promised
//
// [Drive] is closed-loop: a producer begins its next record when the last one
// is acknowledged, so the rate is what the target sustains for that many
// producers. Every latency is counted, in a [Histogram] of fixed size whose
// quantiles are at most 1.6% off. The records are prepared before the clock
// starts and hardly compress, so that neither making them nor a target that
// compresses changes the figures.
//
// [Compare] measures its contenders in turn, round after round, so that a
// disk or a machine that drifts does so under all of them; [Table] works with
// the medians over the rounds. Figures compare within one run only, and
// [Bar] is therefore always a ratio of two of them.
//
// # Failure
//
// The first error of a target ends its measurement, and with it the
// comparison, unless that is told to go on without the target. A contender
// that failed in a case has no figures there, not those of earlier rounds.
//
// # What it does not do
//
// It is no open-loop load generator: a target that stalls is not charged for
// the records that an outside world would have sent meanwhile. It does not
// check that what was acknowledged is on the disk.
package load

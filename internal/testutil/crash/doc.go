// Package crash kills processes for tests, and keeps the books that make a
// kill worth it.
//
// A test binary runs itself again as a child: TestMain calls [Main] with the
// programs a child can be. The child says what it tries and what was
// acknowledged ([Child.Try], [Child.Ack]); the lines reach the parent through
// a pipe, which outlives the child, so that what a killed child was told
// before its death still counts. The parent ([Run]) kills it without warning
// after some acknowledgements, after some time, or has it kill itself at a
// named point of internal/crashpoint, and gets the books back as a [Result].
//
// Randomness comes from [Seed], which logs its seed; CRASH_SEED repeats it.
// A child whose parent dies ends as well. SIGKILL takes the process and
// leaves the kernel: it shows what the program had handed over, not what a
// power cut would leave.
package crash

#!/usr/bin/env bash
# Measures everything that the store has a bar for and judges it: half an
# hour, 40 GB of disk. Run it where nothing else runs, on the disk that counts:
#
#	cmd/bench/bars.sh DIR | tee bars.txt
#	cmd/bench/bars.sh -smoke DIR		seconds, to see that it works; its verdicts are none
#
# DIR is a directory on that disk, by default the temporary directory. Ends with
# all verdicts once more. Exit code: 0 all pass, 1 a bar failed or could not be
# measured, 2 a benchmark failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

repeats=5 warmup=100ms duration=300ms steady=10s second=1s backlog=21474836480 drained=402653184
if [ "${1:-}" = -smoke ]; then
	repeats=1 warmup=0 duration=20ms steady=50ms second=50ms backlog=1000000 drained=20000000
	shift
fi
dir=${1:-${TMPDIR:-/tmp}}
if [ ! -d "$dir" ] || [ $# -gt 1 ]; then
	echo "usage: bars.sh [-smoke] [DIR]; $dir must be a directory" >&2
	exit 2
fi
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

go build -o "$work/bench" ./cmd/bench
(cd cmd/bench/peers && go build -o "$work/peers" .)

failed=0
# measure COMMAND...: runs it, shows what it says and keeps it for the end.
measure() {
	printf '\n==> %s\n' "${*/#"$work/"/}"
	"$@" | tee -a "$work/all" || failed=1
}
peers() { measure "$work/peers" -dir "$dir" -repeats "$repeats" -warmup "$warmup" "$@"; }
bench() { measure "$work/bench" "$@" -dir "$dir" -count "$repeats"; }

peers -duration "$duration" -engines 'kustospool,kustospool-recycled,kustospool-all100,kustospool-store,kustospool-store-recycled,kustospool-lanes1000*,kustospool-nosync,append-prealloc,append1,append-nosync,raft-wal,pebble,tidwall-wal,goqite,nats-sync*,otel-queue-default'
peers -duration "$duration" -engines 'kustospool-recycled,kustospool-store-recycled,append-prealloc' -record 128,16384
peers -duration "$steady" -engines 'kustospool,kustospool-recycled,append-prealloc' -producers 64
bench wear -duration "$second"
bench drain -backlog "$drained"
bench mixed -duration "$second"
bench recover -backlog "$backlog" -duration "$second"
measure "$work/bench" lines -of store

printf '\n==> verdicts\n'
grep -E '^(PASS|FAIL|note|n/a)' "$work/all" || true
[ "$failed" = 0 ] || exit 2
! grep -qE '^(FAIL|n/a)' "$work/all"

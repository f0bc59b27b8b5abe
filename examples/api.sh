#!/bin/sh
# A tick in by the webhook, and the questions that are asked of it, by curl (7.82 or later).
#   API_TOKEN=… sh examples/api.sh http://127.0.0.1:8083
set -eu

url=${1:-http://127.0.0.1:8083}

api() {
  curl -sS --fail-with-body -H "authorization: Bearer $API_TOKEN" "$@"
  echo
}

# 200 once the bus has it
api "$url/ingest/tick" --json '
  {"symbol": "BTC", "ts": "2025-10-31T10:00:00Z", "price": "110000.10", "volume": "0.025", "source": "feeder"}'

# latest per symbol; it is in the table a second later
attempts=0
until latest=$(api "$url/v1/ticks/BTC/latest?kind=webhook" 2>/dev/null); do
  attempts=$((attempts + 1))
  [ "$attempts" -lt 100 ] || { echo "$latest" >&2; exit 1; }
  sleep 0.2
done
echo "$latest"

# recent history: the newest 1,000, newest first
api "$url/v1/ticks/BTC/recent?kind=webhook"

# a range of time, both ends included, for a chart
api "$url/v1/ticks/BTC/range?kind=webhook&start=2025-10-31T09:00:00Z&end=2025-10-31T10:00:00Z"

# what aggregate covers 10:00:00 for BTC?
api "$url/v1/ranges?symbol=BTC&at=2025-10-31T10:00:00Z"

# the same range as CSV; ndjson and arrow are the others
api "$url/v1/ticks/BTC/range?kind=webhook&start=2025-10-31T09:00:00Z&format=csv"

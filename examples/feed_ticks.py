"""Sends ticks to POST /ingest/tick, signed with a shared secret. Standard library alone.

  INGEST_SECRET=… python3 examples/feed_ticks.py --url http://127.0.0.1:8083 --key feeder --source mine ticks.csv

ticks.csv (or standard input) has a header: symbol,ts,price,volume,seq (seq may be missing or empty). Digits are sent as they stand, so
that none is lost on the way. A batch counts once the server has answered 200: until then it is sent again, which adds nothing that is
there already. What the server refuses as wrong (400) ends the program with its words.
"""

import argparse
import csv
import hashlib
import hmac
import http.client
import itertools
import json
import os
import sys
import time
from urllib.parse import urlsplit

BATCH = 100
ANSWER_SECONDS = 30
PAUSE_SECONDS_MAX = 10
# what passes by itself: too many requests, a server behind a proxy that is away, a bus that is full or does not answer
PASSING = (408, 429, 502, 503, 504)


def ticks(source, lines):
    for row in csv.DictReader(lines):
        tick = {name: row[name] for name in ("symbol", "ts", "price", "volume")}
        if row.get("seq"):
            tick["seq"] = row["seq"]
        yield {**tick, "source": source}


class Feeder:
    def __init__(self, url, key, secret):
        self.url = urlsplit(url)
        self.key = key
        self.secret = secret.encode()
        self.connection = None

    def signature(self, body):
        """Of the bytes as they are sent; valid for five minutes, so a repetition is signed anew."""
        now = str(int(time.time()))
        digest = hmac.new(self.secret, now.encode() + b"." + body, hashlib.sha256).hexdigest()
        return f"t={now},id={self.key},v1={digest}"

    def post(self, body):
        """Status, seconds to wait as the server says (None: it does not), text."""
        if self.connection is None:
            kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
            self.connection = kind(self.url.netloc, timeout=ANSWER_SECONDS)
        headers = {"content-type": "application/json", "x-signature": self.signature(body)}
        self.connection.request("POST", self.url.path.rstrip("/") + "/ingest/tick", body, headers)
        response = self.connection.getresponse()
        wait = response.getheader("retry-after", "")
        return response.status, float(wait) if wait.isdigit() else None, response.read().decode()

    def send(self, batch):
        body = json.dumps(batch, separators=(",", ":")).encode()
        for failures in itertools.count(1):
            wait = min(PAUSE_SECONDS_MAX, 0.1 * 2 ** min(failures, 10))
            try:
                status, asked, text = self.post(body)
                if status == 200:
                    return json.loads(text)["accepted"]
                if status not in PASSING:
                    raise SystemExit(f"refused with {status}: {text}")
                wait, why = max(wait, asked or 0), f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                self.connection = None
                why = str(error) or type(error).__name__
            print(f"waiting {wait:.1f} s: {why}", file=sys.stderr)
            time.sleep(wait)


def main():
    parser = argparse.ArgumentParser(description="Sends ticks to POST /ingest/tick.")
    parser.add_argument("--url", default="http://127.0.0.1:8083", help="of the API (default: %(default)s)")
    parser.add_argument("--key", required=True, help="the id of the secret; the secret itself is taken from INGEST_SECRET")
    parser.add_argument("--source", required=True, help="1-64 characters without blanks")
    parser.add_argument("file", nargs="?", help="default: standard input")
    options = parser.parse_args()
    secret = os.environ.get("INGEST_SECRET")
    if not secret:
        parser.error("INGEST_SECRET is not set")
    feeder = Feeder(options.url, options.key, secret)
    accepted = 0
    with open(options.file, newline="", encoding="utf-8") if options.file else sys.stdin as lines:
        feed = ticks(options.source, lines)
        while batch := list(itertools.islice(feed, BATCH)):
            accepted += feeder.send(batch)
    print(f"{accepted} ticks accepted")


if __name__ == "__main__":
    main()

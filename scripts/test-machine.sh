#!/bin/sh
# What the tests need beyond npm. As root on Debian it is installed; anybody else runs without it, and the tests that
# need it say so and are skipped.
set -eu

packages=''
command -v psql >/dev/null 2>&1 || packages="$packages postgresql-client"
command -v systemd-analyze >/dev/null 2>&1 || packages="$packages systemd"
command -v openssl >/dev/null 2>&1 || packages="$packages openssl"
command -v redis-server >/dev/null 2>&1 || packages="$packages redis-server"
command -v redis-cli >/dev/null 2>&1 || packages="$packages redis-tools"
command -v kcat >/dev/null 2>&1 || packages="$packages kcat"
[ -x /usr/sbin/pgbouncer ] || packages="$packages pgbouncer"
command -v java >/dev/null 2>&1 || packages="$packages default-jre-headless"
command -v mvn >/dev/null 2>&1 || packages="$packages maven"
command -v python3 >/dev/null 2>&1 || packages="$packages python3"
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || packages="$packages python3-venv"

if [ -n "$packages" ] && { [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; }; then
  echo "tests without$packages: not root on Debian, what needs them is skipped"
elif [ -n "$packages" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of words
  apt-get install -y -qq --no-install-recommends $packages
fi

# A Kafka broker is jars and Java, which no package of Debian has.
if command -v mvn >/dev/null 2>&1 && command -v java >/dev/null 2>&1; then
  make -s kafka-jars || echo "tests without Kafka: its jars could not be fetched"
fi

# The oracles of bars and features are pandas and scipy, the example that publishes needs clients, models are trained and converted by
# scikit-learn, answers of the API are read by pyarrow, polars and DuckDB, and schemathesis holds it to its description, in an environment of
# its own: .installed holds what it was made of.
venv=test/.venv
requirements='test/oracle/requirements.txt examples/requirements.txt test/support/models/requirements.txt test/support/table/requirements.txt test/prove/api/requirements.txt'
# shellcheck disable=SC2086 # a list of files
wanted=$(cat $requirements)
if [ "$wanted" = "$(cat "$venv/.installed" 2>/dev/null)" ] && [ -x "$venv/bin/python" ]; then
  : # as it should be
elif [ "$(id -u)" -ne 0 ]; then
  echo "tests without the oracles of bars and features, the example in Python, scikit-learn and schemathesis: not root, and $venv is not as it should be"
else
  rm -rf "$venv"
  # shellcheck disable=SC2046,SC2086 # -r before each of a list of files
  if python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check $(printf ' -r %s' $requirements); then
    echo "$wanted" >"$venv/.installed"
  else
    rm -rf "$venv"
    echo "tests without the oracles of bars and features, the example in Python, scikit-learn and schemathesis: pip could not install them in $venv"
  fi
fi

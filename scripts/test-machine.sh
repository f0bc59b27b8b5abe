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
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "tests without$packages: not root on Debian, what needs them is skipped"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $packages

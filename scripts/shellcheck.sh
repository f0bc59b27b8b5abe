#!/bin/sh
# Looks at every shell script of this repository. As root on Debian shellcheck is installed where it is missing; anybody else
# is told that it was left out.
set -eu

if ! command -v shellcheck >/dev/null 2>&1; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    apt-get install -y -qq --no-install-recommends shellcheck >/dev/null || true
  fi
fi
if ! command -v shellcheck >/dev/null 2>&1; then
  echo "shellcheck: skipped, this machine has none (and it is installed only as root on Debian)"
  exit 0
fi
exec shellcheck bin/* scripts/*.sh examples/*.sh .ci/run .githooks/*

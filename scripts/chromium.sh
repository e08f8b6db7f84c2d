#!/bin/sh
# Chromium for the tests that look at pages with a browser: installed where that is possible and it is missing. Without
# one those tests are skipped, so this never fails.
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done

say() { echo "chromium: $*" >&2; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  say "there is none here, and it cannot be installed: the tests that need a browser will be skipped"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
say "installing it"
if ! { timeout 120 apt-get update -qq && timeout 300 apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1; then
  say "it could not be installed: the tests that need a browser will be skipped"
fi
exit 0

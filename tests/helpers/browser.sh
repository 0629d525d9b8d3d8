#!/bin/sh
# Install Debian's headless Chromium for the tests of pages, where there is none and it may be done. Never fails.
for name in chromium-headless-shell chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing Chromium for the tests of pages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null 2>&1
  for name in chromium-headless-shell chromium; do
    apt-get install -y -qq --no-install-recommends "$name" >/dev/null 2>&1 && exit 0
  done
fi
echo "no Chromium on this machine: tests of pages in a browser will skip"

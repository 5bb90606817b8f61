#!/bin/bash -eu
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzz targets as OSS-Fuzz and ClusterFuzzLite want them: into $OUT each target, its options, its seeds.
cd "$SRC/gupfuzz"

# Seeds are text in the tree.  Who packs them is no fuzz target: no sanitizer, no coverage.
RUSTFLAGS='' SANITIZER=none cargo build --locked --target-dir "$WORK/gupfuzz"
rm -rf "$WORK/seeds"
mkdir -p "$WORK/seeds"
for prog in corpus/*/*.prog; do
  seed=${prog#corpus/}
  "$WORK/gupfuzz/debug/gupfuzz" pack "$prog" --out "$WORK/seeds/${seed//\//-}" 2>>"$WORK/pack.log"
done

# A coverage build must not find what was built before it.
export CARGO_TARGET_DIR="$WORK/fuzz-${SANITIZER:-address}"
cargo fuzz build -O
for target in $(cargo fuzz list); do
  cp "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
  cp .clusterfuzzlite/libfuzzer.options "$OUT/$target.options"
  rm -f "$OUT/${target}_seed_corpus.zip"
  zip -q -j -r "$OUT/${target}_seed_corpus.zip" "$WORK/seeds"
done

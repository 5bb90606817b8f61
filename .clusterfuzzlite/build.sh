#!/bin/bash -eu
# SPDX-License-Identifier: GPL-2.0-or-later
# The fuzz targets as OSS-Fuzz and ClusterFuzzLite want them: into $OUT each target, its options, its seeds.
cd "$SRC/gupfuzz"

# Seeds are text in the tree.  Who packs them is no fuzz target: no sanitizer, no coverage, and no optimization,
# which would take three times as long to build.
RUSTFLAGS='' SANITIZER=none CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=false \
  cargo build --locked --target-dir "$WORK/gupfuzz"
targets=$(cargo fuzz list)
rm -rf "$WORK/seeds"
for target in $targets; do
  seeds=()
  for folder in corpus/*; do
    # The programs of a folder that is no target's are for all.
    [ "$folder" != "corpus/$target" ] && grep -qx "${folder#corpus/}" <<<"$targets" || seeds+=("$folder"/*.prog)
  done
  "$WORK/gupfuzz/debug/gupfuzz" pack "${seeds[@]}" --out "$WORK/seeds/$target/"
done

# A coverage build must not find what was built before it.
export CARGO_TARGET_DIR="$WORK/fuzz-${SANITIZER:-address}"
if [ "${SANITIZER:-address}" = coverage ]; then
  cargo fuzz build -O
else
  # Every edge and every compare as feedback cost nine tenths of the speed: fuzz/README.md.
  RUSTFLAGS="${RUSTFLAGS:-} -Cllvm-args=-sanitizer-coverage-level=1" cargo fuzz build -O --no-trace-compares
fi
for target in $targets; do
  cp "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
  cp .clusterfuzzlite/libfuzzer.options "$OUT/$target.options"
  rm -f "$OUT/${target}_seed_corpus.zip"
  zip -q -j -r "$OUT/${target}_seed_corpus.zip" "$WORK/seeds/$target"
done

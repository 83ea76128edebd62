"""A clock that jumps, for every process of a run: a shim between them and the C library moves it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.train.faults.scene import MIDDLE, Outcome, Scene

pytestmark = [pytest.mark.ray, pytest.mark.acceptance]

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jumped(void) {
  char text[32] = {0};
  const char *path = getenv("CLOCK_JUMP");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file < 0) return 0;
  long length = read(file, text, sizeof text - 1);
  close(file);
  return length > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int done = real(clock, now);
  if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += jumped();
  return done;
}

int gettimeofday(struct timeval *now, void *zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int done = real(now, zone);
  if (!done && now) now->tv_sec += jumped();
  return done;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"""


@pytest.mark.parametrize("seconds", [7200, -7200], ids=["forwards", "backwards"])
def test_the_clock_jumps(
    scene: Callable[..., Scene],
    tell: Callable[[Outcome], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    source, shim, jump = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "jump"
    source.write_text(SHIM, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    found = scene(timeout="30m", max_idle="10m")
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(shim))
        patch.setenv("CLOCK_JUMP", str(jump))
        found.start()
    found.when_at(MIDDLE)
    jump.write_text(str(seconds), encoding="utf-8")
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert (outcome.lost, outcome.doubled) == (0, 0)

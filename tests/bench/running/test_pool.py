"""Processes from the fork server: fresh, pinned, limited, and every way to die is told apart.

A program runs the tasks in a pool of its own, as the server is one for a process, and another one those that are about
frameworks, which each new server would import anew; the tests read what they printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.machine.threads import check_threads, cores
from reference import InputError
from tests import ROOT

PROGRAM = """
import dataclasses, json, os, pickle, signal, stat, sys, time
from multiprocessing import forkserver

import numpy as np, psutil

from bench.running.pool import Limits, Pool

MIB = 2**20
held = []

def answer(send, value): return value + 1
def say(send, text): print(text, flush=True); os.write(2, b"native\\n"); raise ValueError(text)
def hang(send): send("steady state", {"first_call_s": 1.5}); time.sleep(60)
def grow(send):
    send("set-up", {})
    while True: held.append(np.ones(MIB)); time.sleep(0.002)
def no_memory(send): raise MemoryError("no room")
def like_torch(send): raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
def like_xla(send): raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
def segfault(send): send("first call", {}); os.kill(os.getpid(), signal.SIGSEGV)
def leave(send): os._exit(3)
def exit_quietly(send): sys.exit(0)
def speak_oddly(send): raise ValueError("lone \\udcff, \\x1b[31mred, \u2603")
class Mute(Exception):
    def __str__(self): raise RuntimeError("no words")
def be_mute(send): raise Mute()
def leave_a_child(send):
    child = os.fork()
    if child == 0: time.sleep(60); os._exit(0)
    return child
def leave_daemons(send):
    # Two processes in a session of their own, whose parent has ended.
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0: os.fork(); os.closerange(0, 100); time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.1)
def leave_daemons_and_kill_the_server(send): leave_daemons(send); kill_the_server(send)
def lives_on():
    # What the pool started and has not ended, beside its server.
    def ours(process):
        try: return process.environ().get("NTK_BENCH_PARENT") == str(os.getpid()) and process.status() != "zombie"
        except psutil.Error: return False
    return len([p for p in psutil.process_iter() if p.pid != forkserver._forkserver._forkserver_pid and ours(p)])
def die_and_leave_a_child(send):
    if os.fork() == 0: time.sleep(60)
    os._exit(4)
def flood(send):
    for _ in range(20): os.write(2, b"\\xff" * MIB)
    raise ValueError("that was all \u2603")
def line_of_its_own():
    return next(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) > 2 and is_pipe(int(fd)))
def is_pipe(fd):
    try: return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError: return False
def write_rubbish(send):
    os.write(line_of_its_own(), b"rubbish" * 9)
    time.sleep(60)
def write_half(send):
    os.write(line_of_its_own(), bytes(7) + b"\x50half")
    time.sleep(60)
def write_objects(send):
    os.write(line_of_its_own(), pickle.dumps(os.system))
    time.sleep(60)
def close_all(send): os.closerange(0, 100); return 1
def close_all_and_hang(send): os.closerange(0, 100); time.sleep(60)
def answer_oddly(send): return object()
def write_everywhere(send):
    for fd in range(3, 100):
        try: os.write(fd, b"word")
        except OSError: continue
    time.sleep(60)
def hold_the_gil(send):
    import ctypes
    ctypes.PyDLL(None).sleep(60)
def kill_the_server(send): os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
def refuse(send):
    from reference import InputError
    raise InputError("mend your input")
def pinned(send): return len(os.sched_getaffinity(0)), os.environ["OMP_NUM_THREADS"]
def torch_threads(send):
    import torch
    return torch.get_num_threads()
def xla_threads(send):
    from jax._src import xla_bridge
    before = list(xla_bridge._backends)
    import jax
    jax.numpy.ones((300, 300)).dot(jax.numpy.ones((300, 300))).block_until_ready()
    names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
    return before, names.count("tf_XLAEigen"), "torch" in sys.modules
def sigint_blocked(send): return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
def interrupted_at_the_start(pool, limits):
    # Ctrl-C when the process runs and its number is not known yet: whether it is raised, and what is left running.
    connect = forkserver.connect_to_new_process
    def interrupted(*arguments):
        connected = connect(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return connected
    forkserver.connect_to_new_process = interrupted
    try: pool.run(limits, hang)
    except KeyboardInterrupt: raised = True
    else: raised = False
    finally: forkserver.connect_to_new_process = connect
    server = psutil.Process(forkserver._forkserver._forkserver_pid)
    return raised, len(server.children()), signal.getsignal(signal.SIGINT) is signal.default_int_handler
def preloaded(send): return sorted({"torch", "jax"} & set(sys.modules)), os.getpid()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
    frameworks = sys.argv[1:]
    modules = {"torch": "impls.methods.torch_autograd", "jax": "impls.methods.equinox_exact"}
    pool = Pool(["no.such.module", *(modules[name] for name in frameworks)], 1, "cpu")
    limits = Limits(time_s=60, memory_bytes=2**33)
    of_frameworks = {"preloaded": (limits, preloaded), "preloaded_again": (limits, preloaded)}
    if "torch" in frameworks: of_frameworks["torch_threads"] = (limits, torch_threads)
    if "jax" in frameworks: of_frameworks["xla_threads"] = (limits, xla_threads)
    runs = {
        "answer": (limits, answer, 41), "say": (limits, say, "text"), "hang": (Limits(0.4, 2**33), hang),
        "grow": (Limits(60, 1500 * MIB), grow), "no_memory": (limits, no_memory), "like_torch": (limits, like_torch),
        "like_xla": (limits, like_xla), "segfault": (limits, segfault), "leave": (limits, leave),
        "exit_quietly": (limits, exit_quietly), "refuse": (limits, refuse), "pinned": (limits, pinned),
    }
    runs |= {task.__name__: (limits, task) for task in (speak_oddly, be_mute, leave_a_child, die_and_leave_a_child,
                                                            flood)}
    runs |= {task.__name__: (Limits(1.0, 2**33), task) for task in (
        write_rubbish, write_half, write_objects, close_all, close_all_and_hang, answer_oddly, write_everywhere,
        hold_the_gil, kill_the_server, leave_daemons, leave_daemons_and_kill_the_server)}
    runs["after_all"] = (limits, answer, 1)
    runs["sigint_blocked"] = (limits, sigint_blocked)
    before = dict(os.environ)
    interrupted = interrupted_at_the_start(pool, limits)
    def timed(run):
        begin = time.monotonic()
        outcome = dataclasses.asdict(pool.run(*run)) | {"seconds": time.monotonic() - begin}
        return outcome | {"lives_on": lives_on()}
    outcomes = {name: timed(run) for name, run in (of_frameworks if frameworks else of_frameworks | runs).items()}
    outcomes["interrupted"] = {"answer": interrupted}
    assert dict(os.environ) == before
    print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each task."""
    program = tmp_path_factory.mktemp("pool") / "program.py"
    program.write_text(PROGRAM)
    frameworks = [name for name in ("torch", "jax") if _installed(name)]
    found: dict[str, dict[str, Any]] = {}
    started = [subprocess.Popen([sys.executable, str(program), *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
               for arguments in dict.fromkeys(((), tuple(frameworks)))]
    for process in started:
        printed, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "fork" not in errors, "a framework warns of the fork: one of its backends ran before it"
        found |= json.loads(printed)
    return found


def _installed(framework: str) -> bool:
    from importlib.util import find_spec

    return find_spec(framework) is not None


def test_answer(outcomes: dict[str, dict[str, Any]]) -> None:
    assert (outcomes["answer"]["status"], outcomes["answer"]["answer"]) == ("ok", 42)


def test_exception_is_a_crash_with_type_message_place_and_output(outcomes: dict[str, dict[str, Any]]) -> None:
    said = outcomes["say"]
    assert said["status"] == "crash"
    assert said["reason"].startswith("ValueError: text (at ")
    assert "program.py:" in said["reason"]
    assert "native" in said["stderr"]
    assert "Traceback" in said["stderr"]


def test_timeout_names_the_phase_and_keeps_what_was_measured(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["hang"]["status"] == "timeout"
    assert outcomes["hang"]["reason"] == "killed after 0.4 s, in phase: steady state"
    assert outcomes["hang"]["measured"] == {"first_call_s": 1.5}


@pytest.mark.parametrize("task", ["grow", "no_memory", "like_torch", "like_xla"])
def test_out_of_memory(outcomes: dict[str, dict[str, Any]], task: str) -> None:
    assert outcomes[task]["status"] == "oom"
    assert ("GiB" if task == "grow" else "Error") in outcomes[task]["reason"]


def test_death_by_signal_is_a_crash_with_its_name(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["segfault"]["status"] == "crash"
    assert outcomes["segfault"]["reason"] == "the process was ended by SIGSEGV, in phase: first call"
    assert "Segmentation fault" in outcomes["segfault"]["stderr"]


def test_leaving_without_an_answer_is_a_crash(outcomes: dict[str, dict[str, Any]]) -> None:
    assert "exit code 3" in outcomes["leave"]["reason"]
    assert "SystemExit" in outcomes["exit_quietly"]["reason"]
    assert outcomes["leave"]["status"] == outcomes["exit_quietly"]["status"] == "crash"


def test_a_message_that_cannot_be_written_or_had_is_reported_all_the_same(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["speak_oddly"]["reason"].startswith("ValueError: lone \udcff, \x1b[31mred, ☃ (at ")
    assert outcomes["be_mute"]["reason"].startswith("Mute: (its message raised RuntimeError) (at ")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_what_a_task_started_is_counted_and_ends_with_it(outcomes: dict[str, dict[str, Any]]) -> None:
    left = {name: outcome["left"] for name, outcome in outcomes.items() if outcome.get("left")}
    assert left.pop("leave_daemons_and_kill_the_server", 2) == 2
    assert left == {"leave_a_child": 1, "die_and_leave_a_child": 1, "leave_daemons": 2}
    assert outcomes["leave_a_child"]["status"] == outcomes["leave_daemons"]["status"] == "ok"
    assert {name: outcome["lives_on"] for name, outcome in outcomes.items() if outcome.get("lives_on")} == {}


def test_a_death_is_seen_though_a_child_holds_the_pipe(outcomes: dict[str, dict[str, Any]]) -> None:
    dead = outcomes["die_and_leave_a_child"]
    assert (dead["status"], dead["reason"]) == ("crash", "the process ended with exit code 4, in phase: start")


def test_of_much_output_the_end_is_kept(outcomes: dict[str, dict[str, Any]]) -> None:
    assert len(outcomes["flood"]["stderr"]) <= 8000
    assert "that was all ☃" in outcomes["flood"]["stderr"]


RUINED = {
    "write_rubbish": ("crash", "it wrote what is no message"),
    "write_objects": ("crash", "it wrote what is no message"),
    "write_half": ("timeout", "killed after 1 s"), "close_all": ("crash", "exit code 1"),
    "close_all_and_hang": ("timeout", "killed after 1 s"), "answer_oddly": ("crash", "a object cannot be sent"),
    "write_everywhere": ("timeout", "killed after 1 s"), "hold_the_gil": ("timeout", "killed after 1 s"),
    "kill_the_server": ("crash", ""), "leave_daemons_and_kill_the_server": ("crash", ""), "after_all": ("ok", ""),
}


@pytest.mark.parametrize("task", RUINED)
def test_a_ruined_line_costs_one_task(outcomes: dict[str, dict[str, Any]], task: str) -> None:
    status, reason = RUINED[task]
    assert outcomes[task]["status"] == status
    assert reason in outcomes[task]["reason"]
    assert "server" in task or task == "after_all" or outcomes[task]["seconds"] < 1 + 2


def test_unusable_input_is_refused(outcomes: dict[str, dict[str, Any]]) -> None:
    assert (outcomes["refuse"]["status"], outcomes["refuse"]["reason"]) == ("refused", "mend your input")


def test_ctrl_c_waits_until_a_process_that_starts_can_be_ended(outcomes: dict[str, dict[str, Any]]) -> None:
    raised, left, handler_restored = outcomes["interrupted"]["answer"]
    assert raised
    assert left == 0
    assert handler_restored


def test_ctrl_c_does_not_reach_the_processes(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["sigint_blocked"]["answer"] is True


def test_processes_are_pinned(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes["pinned"]["answer"] == [1, "1"]


def test_frameworks_are_imported_before_the_fork_and_processes_are_fresh(outcomes: dict[str, dict[str, Any]]) -> None:
    modules, pid = outcomes["preloaded"]["answer"]
    assert modules == sorted(name for name in ("torch", "jax") if _installed(name))
    assert outcomes["preloaded_again"]["answer"][1] != pid


def test_torch_has_as_many_threads_as_it_is_given(outcomes: dict[str, dict[str, Any]]) -> None:
    if "torch_threads" not in outcomes:
        pytest.skip("PyTorch is not installed")
    assert outcomes["torch_threads"]["answer"] == 1


def test_xla_starts_after_the_fork_with_a_thread_for_each_core(outcomes: dict[str, dict[str, Any]]) -> None:
    if "xla_threads" not in outcomes:
        pytest.skip("JAX is not installed")
    backends, threads, _ = outcomes["xla_threads"]["answer"]
    assert backends == []
    assert threads == 1


def test_threads_beyond_the_cores_are_refused() -> None:
    check_threads(1)
    for threads in (0, len(cores()) + 1):
        with pytest.raises(InputError, match="cores"):
            check_threads(threads)

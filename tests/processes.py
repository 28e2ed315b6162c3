"""Work in forked processes, which may be killed."""

import os
import traceback


def in_child(work):
    """Run `work(say)` in a forked process; return its id and the stream of what it says, a line each."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, os.fdopen(reader)
    os.close(reader)
    code = 1
    try:
        work(lambda line: os.write(writer, f"{line}\n".encode()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(child, stream):
    """Wait for a child; return its exit code and lines."""
    lines = stream.read().splitlines()
    stream.close()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines

"""The filter of system calls that shipped code runs under: what no recipe needs and what reaches beyond a sandbox.

Namespaces hide other processes, files and networks; this keeps away what they do not divide (keys, io_uring, virtual
machines' sockets, new namespaces), and memory that no watchdog sees (memfd, System V).
"""

from __future__ import annotations

import errno
import platform
import struct

# name: number on x86_64, on aarch64 (None: it has none). /usr/include/asm/unistd_64.h, asm-generic/unistd.h
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "sched_setaffinity": (203, 122),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "personality": (135, 92),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "iopl": (172, None),
    "ioperm": (173, None),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "vhangup": (153, 58),
}
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_CLONE, _CLONE3, _IOCTL = (56, 220), (435, 435), (16, 29)
_SOCKETS = ((41, 198), (53, 199))  # socket, socketpair
_X32 = 0x40000000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: linux/sched.h
_NEW_NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX_AND_INTERNET = (1, 2, 10)

# struct seccomp_data: nr, arch, instruction_pointer, args[6]; the low word of an argument comes first on both machines.
_AT_NUMBER, _AT_MACHINE, _AT_FIRST, _AT_SECOND = 0, 4, 16, 24
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def filter_program() -> bytes | None:
    """Return the filter as bwrap takes it (--seccomp), or None on a machine that it was not written for."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    audit, column = machine
    program = [_say(_LOAD, _AT_MACHINE), _say(_EQUAL, audit, 1, 0), _say(_RETURN, _KILL), _say(_LOAD, _AT_NUMBER)]
    program += [_say(_AT_LEAST, _X32, 0, 1), _say(_RETURN, _KILL)]
    for number in (numbers[column] for numbers in _REFUSED.values()):
        if number is not None:
            program += [_say(_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    # The C library falls back to clone, whose flags can be looked at.
    program += [_say(_EQUAL, _CLONE3[column], 0, 1), _refuse(errno.ENOSYS)]
    program += _looked_at(_CLONE[column], _AT_FIRST, [_say(_ANY_BIT, _NEW_NAMESPACES, 0, 1), _refuse(errno.EPERM)])
    steals = [_say(_EQUAL, _TIOCSTI, 1, 0), _say(_EQUAL, _TIOCLINUX, 0, 1), _refuse(errno.EPERM)]
    program += _looked_at(_IOCTL[column], _AT_SECOND, steals)
    for numbers in _SOCKETS:
        families = [_say(_EQUAL, family, len(_UNIX_AND_INTERNET) - place, 0)
                    for place, family in enumerate(_UNIX_AND_INTERNET)]  # fmt: skip
        program += _looked_at(numbers[column], _AT_FIRST, [*families, _refuse(errno.EAFNOSUPPORT)])
    program.append(_say(_RETURN, _ALLOW))
    return b"".join(program)


def _looked_at(number: int, argument: int, judgement: list[bytes]) -> list[bytes]:
    """Return what judges an argument of one call; the number is in the accumulator before and after it."""
    steps = [_say(_LOAD, argument), *judgement, _say(_RETURN, _ALLOW)]
    return [_say(_EQUAL, number, 0, len(steps)), *steps]


def _refuse(error: int) -> bytes:
    return _say(_RETURN, _ERROR | error)


def _say(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)

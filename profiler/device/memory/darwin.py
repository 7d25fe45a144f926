"""macOS: the physical footprint is the accurate figure; there is no proportional size, and the peak does not reset.

Source: struct rusage_info_v4 in <sys/resource.h>, proc_pid_rusage in <libproc.h>.
"""

import ctypes
import os

from profiler.records.round import Memory

_RUSAGE_INFO_V4 = 4
_FIELDS = """
user_time system_time pkg_idle_wkups interrupt_wkups pageins wired_size resident_size phys_footprint
proc_start_abstime proc_exit_abstime child_user_time child_system_time child_pkg_idle_wkups
child_interrupt_wkups child_pageins child_elapsed_abstime diskio_bytesread diskio_byteswritten
cpu_time_qos_default cpu_time_qos_maintenance cpu_time_qos_background cpu_time_qos_utility cpu_time_qos_legacy
cpu_time_qos_user_initiated cpu_time_qos_user_interactive billed_system_time serviced_system_time
logical_writes lifetime_max_phys_footprint instructions cycles billed_energy serviced_energy
interval_max_phys_footprint runnable_time
""".split()  # noqa: SIM905  reads as the header does


class RusageInfoV4(ctypes.Structure):
    """`struct rusage_info_v4`: a uuid and 35 counters."""

    _fields_ = (("uuid", ctypes.c_uint8 * 16), *((name, ctypes.c_uint64) for name in _FIELDS))


def read() -> Memory:
    """Return the process's figures from proc_pid_rusage and getrusage."""
    import resource

    info = RusageInfoV4()
    library = ctypes.CDLL("/usr/lib/libproc.dylib", use_errno=True)
    if library.proc_pid_rusage(os.getpid(), _RUSAGE_INFO_V4, ctypes.byref(info)):
        return Memory()
    return from_info(info, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def from_info(info: RusageInfoV4, max_rss_bytes: int) -> Memory:
    """Return the record; ru_maxrss is in bytes here, not in KiB as on Linux."""
    return Memory(
        rss_bytes=info.resident_size,
        peak_rss_bytes=max_rss_bytes,
        footprint_bytes=info.phys_footprint,
    )

"""What the log refuses.

AuditError           code
├── LogBroken        audit_log_broken      what is there does not go on from what was signed
└── BadExport        bad_audit_export      a file that holds no log, or not a whole one

That a log was tampered with is no error of a check: it says so in its verdict.
"""


class AuditError(Exception):
    """Anything the log refuses."""

    code = "audit_error"


class LogBroken(AuditError):
    code = "audit_log_broken"


class BadExport(AuditError):
    code = "bad_audit_export"


__all__ = ["AuditError", "BadExport", "LogBroken"]

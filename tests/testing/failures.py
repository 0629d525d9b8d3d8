"""Failed checks of parts with a deliberate mistake."""


def failures(contract, only="", outcome="failed", **parts):
    """Run the checks whose name contains ``only``, and return, by name, the reasons of those with this outcome.

    ``parts`` are the return values of methods of the contract, such as ``spec``, by name.
    """
    methods = {name: lambda self, part=part: part for name, part in parts.items()}
    results = type("MutantContract", (contract,), methods).run_checks(only)
    assert results, f"no check is named *{only}*"
    return {result.check: result.reason for result in results if result.outcome == outcome}

from vitsplice.evaluation.account import EXAMPLES, Account


def test_all_faults_are_counted_and_only_the_first_few_kept():
    account = Account()
    for number in range(100):
        account.failed(f"p{number}", "no output", missing=number % 4 == 0)
    assert account.examples == [f"p{number}: no output" for number in range(EXAMPLES)]
    assert (account.missing, account.broken) == (25, 75)

import fcntl
import os
import threading

from vitsplice.support.folder_lock import LOCK, FolderLock, is_locked


def files(path):
    return sorted(file.name for file in path.iterdir())


def test_folder_is_locked_while_a_process_holds_its_lock(tmp_path):
    assert not is_locked(tmp_path)
    with FolderLock(tmp_path):
        assert is_locked(tmp_path)
    (tmp_path / LOCK).touch()  # left by a process that was killed
    assert not is_locked(tmp_path)
    assert (tmp_path / LOCK).exists()


def test_folder_with_the_name_of_the_lock_is_no_lock(tmp_path):
    (tmp_path / LOCK).mkdir()
    assert not is_locked(tmp_path)


def test_folder_can_be_locked_although_its_lock_is_read_at_that_moment(tmp_path):
    with (tmp_path / LOCK).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as `is_locked` does
        end_of_reading = threading.Timer(0.02, fcntl.flock, (file, fcntl.LOCK_UN))
        end_of_reading.start()
        lock = FolderLock(tmp_path)
        end_of_reading.join()
    assert is_locked(tmp_path)
    lock.release()


def test_lock_that_is_released_while_it_is_read_is_no_lock(tmp_path, monkeypatch):
    lock_file, unpatched = tmp_path / LOCK, os.stat
    lock_file.touch()

    def stat_then_release(path, **options):
        status = unpatched(path, **options)
        if os.fspath(path) == str(lock_file):
            lock_file.unlink()
        return status

    monkeypatch.setattr(os, "stat", stat_then_release)  # which `is_locked` calls before it opens the file
    assert not is_locked(tmp_path)
    assert not os.path.lexists(lock_file)


def test_lock_leaves_no_file_and_can_be_released_twice(tmp_path):
    with FolderLock(tmp_path) as lock:
        assert files(tmp_path) == [".lock"]
    lock.release()
    assert files(tmp_path) == []


def test_lock_is_released_by_any_thread_of_its_process(tmp_path):
    lock = FolderLock(tmp_path)
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not is_locked(tmp_path)
    FolderLock(tmp_path).release()

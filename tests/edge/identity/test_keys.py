"""The identity in its folder: private, whole at every moment, and refused when it is not."""

import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from edge.identity.keys import FileKeyStore, KeyStoreError, NoCertificateError
from protocol.commands import SignerKey
from tests.certificates import TestAuthority
from tests.edge.identity.stores import SIGNERS, enrolled

ROOT = Path(__file__).parent.parent.parent.parent
DEVICE = "demo-001"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def keys(tmp_path: Path, authority: TestAuthority) -> FileKeyStore:
    return enrolled(tmp_path / "identity", authority, DEVICE)


def serial(keys: FileKeyStore) -> str:
    held = keys.held()
    assert held is not None
    return held.serial


def test_a_folder_that_is_not_there_is_a_vehicle_that_has_to_enrol(tmp_path: Path) -> None:
    keys = FileKeyStore(tmp_path / "identity")
    assert not keys.has_certificate()
    assert keys.held() is None
    assert keys.signers() == []
    assert not keys.redeemed("a claim")
    with pytest.raises(NoCertificateError, match="the vehicle has to enrol"):
        keys.tls_context()
    assert not keys.folder.exists()


def test_an_enrolled_vehicle_has_everything_for_tls(keys: FileKeyStore) -> None:
    held = keys.held()
    assert held is not None
    assert held.common_name == DEVICE
    assert keys.has_certificate()
    assert keys.signers() == SIGNERS
    context = keys.tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    (trusted,) = context.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "test CA"),),)


def test_only_the_owner_may_read_any_of_it(keys: FileKeyStore) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in (keys.folder, *keys.folder.rglob("*"))}
    assert {modes[path] for path in modes if path.is_dir()} == {0o700}
    assert {modes[path] for path in modes if path.is_file()} == {0o600}


def test_the_files_have_names_that_never_change(
    keys: FileKeyStore, authority: TestAuthority
) -> None:
    names = ("key.pem", "certificate.pem", "ca.pem", "signers.json")
    before = [(keys.folder / name).read_text() for name in names]
    keys.keep(authority.certify(keys.new_request(DEVICE), DEVICE), authority.ca_pem, SIGNERS)
    after = [(keys.folder / name).read_text() for name in names]
    assert [old != new for old, new in zip(before, after, strict=True)] == [
        *(True, True),
        *(False, False),
    ]


def test_a_key_that_others_may_read_is_refused_with_the_remedy(keys: FileKeyStore) -> None:
    key = keys.folder / "key.pem"
    key.chmod(0o644)
    with pytest.raises(KeyStoreError, match=r"mode 0644.*run chmod 600 .*key\.pem"):
        keys.tls_context()
    key.chmod(0o600)
    assert keys.tls_context()


def test_the_key_is_a_new_one_each_time_and_the_request_proves_it(
    keys: FileKeyStore, authority: TestAuthority
) -> None:
    first, second = keys.new_request(DEVICE), keys.new_request(DEVICE)
    assert first != second
    keys.keep(authority.certify(second, DEVICE), authority.ca_pem, SIGNERS)
    assert keys.tls_context()


def test_a_claim_that_was_not_answered_is_asked_with_the_same_key_again(
    keys: FileKeyStore, authority: TestAuthority
) -> None:
    first = keys.new_request(DEVICE, claim="a-claim")
    assert FileKeyStore(keys.folder).new_request(DEVICE, claim="a-claim") == first
    keys.keep(authority.certify(first, DEVICE), authority.ca_pem, SIGNERS, claim="a-claim")
    assert keys.tls_context()
    assert keys.new_request(DEVICE, claim="a-claim") != first


@pytest.mark.parametrize(("device_id", "claim"), [(DEVICE, "b-claim"), ("demo-002", "a-claim")])
def test_another_claim_or_another_device_gets_a_key_of_its_own(
    keys: FileKeyStore, authority: TestAuthority, device_id: str, claim: str
) -> None:
    first = keys.new_request(DEVICE, claim="a-claim")
    second = keys.new_request(device_id, claim=claim)
    assert second != first
    keys.keep(authority.certify(second, device_id), authority.ca_pem, SIGNERS, claim=claim)
    assert keys.tls_context()


def test_a_certificate_of_another_key_leaves_the_old_pair(
    keys: FileKeyStore, authority: TestAuthority
) -> None:
    before = serial(keys)
    keys.new_request(DEVICE)
    with pytest.raises(KeyStoreError, match="key values mismatch"):
        keys.keep(authority.device(DEVICE).pem, authority.ca_pem, SIGNERS)
    assert serial(keys) == before
    assert keys.tls_context()


def test_a_certificate_of_another_authority_leaves_the_old_pair(
    keys: FileKeyStore, authority: TestAuthority, tmp_path: Path
) -> None:
    before, other = serial(keys), TestAuthority(tmp_path / "other", "another CA")
    csr = keys.new_request(DEVICE)
    with pytest.raises(KeyStoreError, match="not of the authority"):
        keys.keep(other.certify(csr, DEVICE), authority.ca_pem, SIGNERS)
    assert serial(keys) == before


def test_the_claim_is_remembered_through_renewals_and_not_in_clear(
    tmp_path: Path, authority: TestAuthority
) -> None:
    keys = FileKeyStore(tmp_path / "identity")
    for claim in ("first-claim", None):
        certificate = authority.certify(keys.new_request(DEVICE), DEVICE)
        keys.keep(certificate, authority.ca_pem, SIGNERS, claim=claim)
    assert keys.redeemed("first-claim")
    assert not keys.redeemed("another-claim")
    files = (path for path in keys.folder.rglob("*") if path.is_file())
    assert not any("first-claim" in path.read_text() for path in files)


def test_new_signers_take_the_place_of_the_old_ones(keys: FileKeyStore) -> None:
    newer = [SignerKey("k3", "33" * 32)]
    before = serial(keys)
    keys.keep_signers(newer)
    assert keys.signers() == newer
    assert serial(keys) == before


def test_signers_before_enrolment_have_no_place(tmp_path: Path) -> None:
    with pytest.raises(NoCertificateError):
        FileKeyStore(tmp_path / "identity").keep_signers(SIGNERS)


@pytest.mark.parametrize("name", ["certificate.pem", "signers.json"])
def test_a_damaged_file_is_named(keys: FileKeyStore, name: str) -> None:
    (keys.folder / name).write_text("scribble")
    with pytest.raises(KeyStoreError, match=rf"{name} is damaged.*; remove the folder"):
        keys.held() if name == "certificate.pem" else keys.signers()


def test_two_processes_do_not_enrol_at_the_same_time(keys: FileKeyStore) -> None:
    with (
        keys.alone(),
        pytest.raises(KeyStoreError, match="another process is enrolling"),
        FileKeyStore(keys.folder).alone(),
    ):
        pass
    with FileKeyStore(keys.folder).alone():
        pass


def test_a_program_without_the_library_makes_the_key_in_a_process_of_its_own(
    tmp_path: Path, authority: TestAuthority
) -> None:
    script = (
        "import sys; from pathlib import Path; from edge.identity.keys import FileKeyStore\n"
        "csr = FileKeyStore(Path(sys.argv[1])).new_request('demo-001')\n"
        "assert not any(name.startswith('cryptography') for name in sys.modules)\n"
        "print(csr)"
    )
    made = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "identity"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    keys = FileKeyStore(tmp_path / "identity")
    keys.keep(authority.certify(made.stdout, DEVICE), authority.ca_pem, SIGNERS)
    assert keys.tls_context()
    assert (keys.folder / "key.pem").stat().st_mode & 0o777 == 0o600


STEPS = ("written", "named", "linked", "switched", "cleared")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_while_a_renewal_is_kept_leaves_a_pair_that_works(
    keys: FileKeyStore, authority: TestAuthority, tmp_path: Path, step: str
) -> None:
    before = serial(keys)
    certificate = tmp_path / "new.pem"
    certificate.write_text(authority.certify(keys.new_request(DEVICE), DEVICE))
    killed = subprocess.run(
        [
            *(sys.executable, "-m", "tests.edge.identity.keeper"),
            *(keys.folder, certificate, authority.ca_file),
        ],
        env={**os.environ, "MOBILITY_FAULT_POINT": f"keep.{step}"},
        check=False,
        cwd=ROOT,
    )
    assert killed.returncode == -signal.SIGKILL
    is_new = serial(keys) != before
    assert is_new == (step in {"switched", "cleared"})
    assert keys.tls_context()
    assert keys.signers() == SIGNERS
    keys.keep(authority.certify(keys.new_request(DEVICE), DEVICE), authority.ca_pem, SIGNERS)
    assert serial(keys) != before
    assert keys.tls_context()
    left = sorted(path.name for path in keys.folder.iterdir() if path.is_dir())
    assert len([name for name in left if name.isdecimal()]) == 1


def test_a_process_that_is_not_killed_keeps_the_renewal(
    keys: FileKeyStore, authority: TestAuthority, tmp_path: Path
) -> None:
    before = serial(keys)
    certificate = tmp_path / "new.pem"
    certificate.write_text(authority.certify(keys.new_request(DEVICE), DEVICE))
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.edge.identity.keeper"),
            *(keys.folder, certificate, authority.ca_file),
        ],
        check=True,
        cwd=ROOT,
    )
    assert serial(keys) != before

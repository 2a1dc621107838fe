"""Personal data and secrets that belong to nobody, and what only looks like them, in sentences.

Every value is made by its own rule (check digits, numbering plans, published key formats), in the
ways that people write it, and stands in an English, a Chinese or a German sentence. Nothing here
comes from a person; all of it is drawn from a seed.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

Rng = random.Random
Make = Callable[[Rng], str]
_LOWER, _UPPER, _DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
_WORD = string.ascii_letters + _DIGITS


@dataclass(frozen=True, slots=True)
class Planted:
    """One sentence.

    Attributes:
        kind: of the value; of what only looks like it, what it really is.
        value: what is to go; what must stay where it only looks like it.
    """

    language: str
    kind: str
    value: str
    text: str


def _some(rng: Rng, letters: str, count: int) -> str:
    return "".join(rng.choices(letters, k=count))


def _email(rng: Rng) -> str:
    name = rng.choice(["jane.doe", "max_muster", "li.wei", "a.b+news", "k-o", "wang1987", "müller"])
    host = rng.choice(["example.org", "mail.klinik-nord.de", "163.com", "acme.co.uk", "qq.com"])
    return f"{name}{rng.randrange(100)}@{host}"


def _phone_us(rng: Rng) -> str:
    area = rng.choice(["212", "415", "650", "713", "312", "206"])
    first, last = rng.randrange(220, 980), rng.randrange(10_000)
    form = rng.choice(["({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "+1-{}-{}-{}"])
    return form.format(area, first, f"{last:04d}")


def _phone_de(rng: Rng) -> str:
    if rng.random() < 0.5:
        prefix = rng.choice(["151", "160", "171", "172", "175"])
        number = _some(rng, "23456789", 8 if prefix == "151" else 7)
    else:
        prefix, number = rng.choice(["30", "40", "89", "221"]), _some(rng, "23456789", 7)
    form = rng.choice(["+49 {} {}", "+49 (0){} {}", "0049 {} {}", "0{} {}", "0{}/{}", "0{}-{}"])
    return form.format(prefix, number)


def _phone_cn(rng: Rng) -> str:
    number = rng.choice(["138", "139", "150", "186", "199"]) + _some(rng, _DIGITS, 8)
    grouped = f"{number[:3]} {number[3:7]} {number[7:]}"
    landline = f"010-6{_some(rng, '123456789', 7)}"
    return rng.choice([number, grouped, grouped.replace(" ", "-"), f"+86 {number}", landline])


def _iban(rng: Rng) -> str:
    country, bank = rng.choice(
        [
            ("DE", "37040044" + _some(rng, _DIGITS, 10)),
            ("GB", rng.choice(["WEST", "BARC", "NWBK"]) + _some(rng, _DIGITS, 14)),
            ("CH", "00762" + _some(rng, _DIGITS, 12)),
            ("NL", "ABNA0417164300"),
        ]
    )
    digits = "".join(str(int(letter, 36)) for letter in f"{bank}{country}00")
    plain = f"{country}{98 - int(digits) % 97:02d}{bank}"
    grouped = " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))
    return rng.choice([plain, grouped])


def luhn(digits: str) -> str:
    """Digits with the check digit that payment cards have."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def _card(rng: Rng) -> str:
    if rng.random() < 0.2:
        amex = luhn(rng.choice(["34", "37"]) + _some(rng, _DIGITS, 12))
        return rng.choice([amex, f"{amex[:4]} {amex[4:10]} {amex[10:]}"])
    number = luhn(
        rng.choice(["4", "51", "55", "6011"]).ljust(15, "0")[:4] + _some(rng, _DIGITS, 11)
    )
    joint = rng.choice(["", " ", "-"])
    return joint.join(number[at : at + 4] for at in range(0, 16, 4))


def _id_cn(rng: Rng) -> str:
    body = rng.choice(["110105", "310101", "440305", "510107"])
    body += f"{rng.randrange(1950, 2005)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    body += f"{rng.randrange(1000):03d}"
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
    return body + "10X98765432"[total % 11]


def _ssn(rng: Rng) -> str:
    return f"{rng.randrange(100, 665)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"


def _passport(rng: Rng) -> str:
    german = (
        rng.choice("CFGHJK") + _some(rng, "0123456789CFGHJKLMNPRTVWXYZ", 7) + rng.choice(_DIGITS)
    )
    chinese = rng.choice("EG") + _some(rng, _DIGITS, 8)
    return rng.choice([german, chinese, _some(rng, "123456789", 9)])


def _ip(rng: Rng) -> str:
    if rng.random() < 0.3:
        groups = [f"{rng.randrange(1, 65536):x}" for _ in range(rng.choice([4, 6]))]
        return "2a02:" + ":".join(groups[:-1]) + ("::" if len(groups) == 4 else ":ff:") + groups[-1]
    return ".".join(
        [
            rng.choice(["8", "46", "62", "81", "93", "185"]),
            *(str(rng.randrange(256)) for _ in "abc"),
        ]
    )


def _api_key(rng: Rng) -> str:
    some = lambda count, letters=_WORD: _some(rng, letters, count)  # noqa: E731
    return rng.choice(
        [
            "AKIA" + some(16, _UPPER + "234567"),
            "ghp_" + some(36),
            "github_pat_" + some(22) + "_" + some(59),
            "glpat-" + some(20),
            "sk-" + some(20) + "T3BlbkFJ" + some(20),
            "sk-proj-" + some(48),
            "sk-ant-api03-" + some(80) + "-AA",
            "AIza" + some(35),
            "hf_" + some(34),
            "xoxb-" + some(12, _DIGITS) + "-" + some(24),
            "sk_live_" + some(24),
            "SG." + some(22) + "." + some(43),
            "npm_" + some(36),
            "pypi-AgEIcHlwaS5vcmc" + some(80),
            "aw-" + some(8, _LOWER + "234567") + "-" + some(39, _LOWER + "234567"),
            _jwt(rng),
        ]
    )


def _jwt(rng: Rng) -> str:
    parts = ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{rng.randrange(10**9)}","iat":1516239022}}')
    shown = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    signature = base64.urlsafe_b64encode(rng.randbytes(32)).decode().rstrip("=")
    return ".".join((*shown, signature))


def _private_key(rng: Rng) -> str:
    kind = rng.choice(["RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED "])
    body = base64.b64encode(rng.randbytes(240)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def _password(rng: Rng) -> str:
    return (
        _some(rng, _LOWER, 5)
        + _some(rng, "!?#%", 1)
        + _some(rng, _DIGITS, 3)
        + _some(rng, _UPPER, 3)
    )


KINDS: dict[str, tuple[Make, dict[str, tuple[str, ...]]]] = {
    "e-mail address": (_email, {
        "en": ("Please write to {} about the results.", "My address is {}, thanks."),
        "zh": ("请发到{}，谢谢。", "我的邮箱是{}请查收"),
        "de": ("Bitte an {} schicken.", "Meine Adresse lautet {}."),
    }),
    "phone number (US)": (_phone_us, {
        "en": ("Call me at {} tomorrow.", "Tel. {}, ask for the ward."),
        "zh": ("美国电话：{}。",), "de": ("Telefon in den USA: {}.",),
    }),
    "phone number (DE)": (_phone_de, {
        "en": ("Our German line is {}.",), "zh": ("德国电话：{}，请联系。",),
        "de": ("Rufen Sie {} an.", "Telefon: {}, Frau Dr. Ortiz"),
    }),
    "phone number (CN)": (_phone_cn, {
        "en": ("The office in Beijing: {}.",), "zh": ("我的手机号是{}，请联系。", "电话{}"),
        "de": ("Telefon in China: {}.",),
    }),
    "bank account (IBAN)": (_iban, {
        "en": ("Transfer it to {} please.",), "zh": ("账号是{}。",), "de": ("Meine IBAN: {}.",),
    }),
    "payment card": (_card, {
        "en": ("My card is {}.", "Charge {} now"), "zh": ("卡号{}，请扣款。",),
        "de": ("Kartennummer {}, bitte belasten.",),
    }),
    "national id (CN)": (_id_cn, {
        "en": ("Chinese id {} was shown.",), "zh": ("身份证号{}。", "证件：{}，已核对"),
        "de": ("Ausweis (China): {}.",),
    }),
    "social security number (US)": (_ssn, {
        "en": ("My SSN is {}.",), "zh": ("社保号码{}。",), "de": ("US-Nummer {}.",),
    }),
    "passport number": (_passport, {
        "en": ("My passport number is {}.", "Passport no. {}, valid"), "zh": ("护照号：{}。",),
        "de": ("Reisepass-Nr. {}.", "Die Passnummer lautet {}."),
    }),
    "IP address": (_ip, {
        "en": ("He logged in from {} at noon.",), "zh": ("来自{}的请求失败。",),
        "de": ("Zugriff von {} um 12 Uhr.",),
    }),
    "key": (_api_key, {
        "en": ("It fails with {} since Monday.",), "zh": ("用的是{}，请检查。",),
        "de": ("Mit {} geht es nicht.",),
    }),
    "private key": (_private_key, {
        "en": ("Here it is:\n{}\nthanks",), "zh": ("如下：\n{}",), "de": ("Der Text:\n{}\nGruß",),
    }),
    "password": (_password, {
        "en": ("The password is {}.", 'password="{}"'), "zh": ("服务器的密码是{}。",),
        "de": ("Das Passwort lautet {}.", "Passwort: {}"),
    }),
}  # fmt: skip
"""What is to be found: kind → how it is made, and sentences by language."""


def _isbn(rng: Rng) -> str:
    body = "978" + rng.choice("037") + _some(rng, _DIGITS, 8)
    check = -sum(int(d) * (3 if at % 2 else 1) for at, d in enumerate(body)) % 10
    plain = f"{body}{check}"
    return rng.choice([plain, f"{plain[:3]}-{plain[3]}-{plain[4:8]}-{plain[8:12]}-{plain[12]}"])


LOOKALIKES: dict[str, Make] = {
    "order number": lambda rng: rng.choice(
        [
            f"ORD-{rng.randrange(2019, 2027)}-{rng.randrange(10**7):07d}",
            f"#{rng.randrange(10**5, 10**8)}",
            f"INV{rng.randrange(10**6, 10**9)}",
            f"{rng.randrange(2019, 2027)}/{rng.randrange(10**5):05d}",
        ]
    ),
    "bare number": lambda rng: str(rng.randrange(10**5, 10 ** rng.choice([7, 8, 9, 10, 12]))),
    "version": lambda rng: rng.choice(["v", "version ", "Version ", "版本"])
    + ".".join(str(rng.randrange(30)) for _ in range(rng.choice([2, 3, 4]))),
    "date": lambda rng: rng.choice(["{2}-{1:02d}-{0:02d}", "{0:02d}.{1:02d}.{2}", "{1}/{0}/{2}"])
    .format(rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(1950, 2027)),
    "time": lambda rng: f"{rng.randrange(2020, 2027)}-{rng.randrange(1, 13):02d}-"
    f"{rng.randrange(1, 29):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z",
    "hash": lambda rng: rng.randbytes(rng.choice([16, 20, 32])).hex(),
    "uuid": lambda rng: str(uuid.UUID(bytes=rng.randbytes(16), version=4)),
    "ISBN": _isbn,
    "price": lambda rng: rng.choice(["${}.{:02d}", "{},{:02d} €", "¥{}.{:02d}"])
    .format(rng.randrange(10**6), rng.randrange(100)),
    "measure": lambda rng: f"{rng.randrange(10**4) / 10**4 * 100:.6f}",
    "code of a disease": lambda rng: f"{rng.choice(_UPPER)}{rng.randrange(100):02d}."
    f"{rng.randrange(10)}",
    "list of numbers": lambda rng: ", ".join(str(rng.randrange(1000)) for _ in range(8)),
    "path": lambda rng: f"/usr/lib/python3.{rng.randrange(9, 15)}/lib/{_some(rng, _LOWER, 6)}",
    "call": lambda rng: rng.choice(
        ["os.environ['API_KEY']", "token = tokenize.NAME", "password = getpass.getpass()",
         "user@localhost", "@dataclass(frozen=True)", "self.secret_key(value)"]
    ),
}  # fmt: skip
"""What must stay: what it is → how it is made."""

# No sentence speaks of calling anybody: ten digits would be a phone number there.
_AROUND = {
    "en": ("See {} in the list.", "It was {} before.", "The entry {} is closed."),
    "zh": ("参见{}。", "编号为{}的记录已关闭。", "之前是{}，现在不是。"),
    "de": ("Siehe {} in der Liste.", "Vorher war es {}.", "Der Eintrag {} ist erledigt."),
}


def planted(seed: int, each: int) -> list[Planted]:
    """Sentences with something in them: `each` of every kind in every language."""
    rng = random.Random(seed)
    found = []
    for kind, (make, sentences) in KINDS.items():
        for language, frames in sentences.items():
            for number in range(each):
                value = make(rng)
                text = frames[number % len(frames)].format(value)
                found.append(Planted(language, kind, value, text))
    return found


def lookalikes(seed: int, each: int) -> list[Planted]:
    """Sentences with nothing in them that is to be found, `each` of every kind and language."""
    rng = random.Random(seed)
    return [
        Planted(language, kind, value := make(rng), frames[number % len(frames)].format(value))
        for kind, make in LOOKALIKES.items()
        for language, frames in _AROUND.items()
        for number in range(each)
    ]

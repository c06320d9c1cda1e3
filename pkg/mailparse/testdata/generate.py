#!/usr/bin/env python3
"""Writes mails/*.eml and golden.json: mail in many languages and charsets, made by Python's email
package, which shares no code with mailparse. Run it in this directory; its output is committed and the
same on every run."""

import base64
import json
import os
import quopri
from email.header import Header
from urllib.parse import quote

# charset as labelled, Python codec, name of the sender, subject, text
TEXTS = [
    ("utf-8", "utf-8", "Zoë Müller", "Grüße aus Köln — schönes Wetter ☀", "Liebe Grüße,\r\nZoë\r\n.\r\nnach dem Punkt\r\n"),
    ("utf-8", "utf-8", "दीपक शर्मा", "नमस्ते दुनिया, यह एक लंबा विषय है जो कई शब्दों में बँटेगा", "यह एक परीक्षण है।\r\n"),
    ("utf-8", "utf-8", "Emoji 👩‍👩‍👧", "🎉 Party 🎉 at eight 🎉 bring friends 👩‍👩‍👧 and food 🍕🍕🍕", "🍕\r\n"),
    ("us-ascii", "ascii", "Alice Example", "Plain old mail", "Nothing special here.\r\n"),
    ("iso-8859-1", "latin-1", "François Lefèvre", "Réunion déplacée à mercredi", "À bientôt, été, garçon, cœur sans ligature\r\n".replace("œ", "oe")),
    ("iso-8859-15", "iso-8859-15", "Œuvre Société", "Prix : 100 € tout compris", "Cœur, 50 €\r\n"),
    ("iso-8859-2", "iso-8859-2", "Łukasz Żółw", "Zażółć gęślą jaźń", "Dzień dobry, proszę o odpowiedź.\r\n"),
    ("windows-1250", "cp1250", "Jiří Dvořák", "Příliš žluťoučký kůň úpěl ďábelské ódy", "Ahoj, přílohu najdeš níže.\r\n"),
    ("windows-1251", "cp1251", "Иван Петров", "Счёт № 17 на оплату услуг за ноябрь", "Здравствуйте!\r\nСчёт во вложении.\r\n"),
    ("koi8-r", "koi8-r", "Мария Иванова", "Привет из Москвы, как дела у тебя?", "Пока всё хорошо.\r\n"),
    ("koi8-u", "koi8-u", "Олена Шевченко", "Зустріч о десятій годині, їжа є", "Добрий день, Ґанок.\r\n"),
    ("iso-8859-5", "iso-8859-5", "Јован Јовановић", "Поздрав из Београда", "Ћао!\r\n"),
    ("ibm866", "cp866", "Дос Досович", "Старая почта", "Из прошлого века\r\n"),
    ("iso-8859-7", "iso-8859-7", "Γιώργος Παπαδόπουλος", "Καλημέρα κόσμε", "Τι κάνεις;\r\n"),
    ("windows-1253", "cp1253", "Ελένη", "Άλλο ένα μήνυμα", "Ώρα\r\n"),
    ("iso-8859-9", "iso-8859-9", "Ayşe Yılmaz", "Toplantı yarın öğleden sonra", "Görüşürüz, İstanbul\r\n"),
    ("windows-1254", "cp1254", "Çağrı", "Şirket değişikliği", "Iğdır\r\n"),
    ("windows-1255", "cp1255", "דוד כהן", "שלום עולם", "מה שלומך?\r\n"),
    ("iso-8859-8", "iso-8859-8", "רות", "הודעה חדשה", "להתראות\r\n"),
    ("windows-1256", "cp1256", "محمد أحمد", "مرحبا بالعالم", "كيف حالك؟\r\n"),
    ("iso-8859-6", "iso-8859-6", "فاطمة", "رسالة جديدة", "شكرا\r\n"),
    ("windows-1257", "cp1257", "Jānis Bērziņš", "Sveiki no Rīgas", "Ačiū, ąžuolas\r\n"),
    ("windows-1258", "cp1258", "Nguyen", "Đây là thư", "Đươ\u0300ng\r\n"),
    ("tis-620", "tis-620", "สมชาย", "สวัสดีชาวโลก", "ขอบคุณครับ\r\n"),
    ("iso-2022-jp", "iso2022_jp", "山田太郎", "会議の議事録を送付いたしますのでご確認ください", "お世話になっております。\r\n山田です。\r\n"),
    ("shift_jis", "shift_jis", "鈴木一郎", "ソフトウェアの表示について", "ソースコードを添付します。\r\n"),
    ("cp932", "cp932", "髙橋", "①㈱テスト", "〜波ダッシュ①\r\n".replace("〜", "～")),
    ("euc-jp", "euc_jp", "佐藤花子", "請求書のご案内", "よろしくお願いします。\r\n"),
    ("gb2312", "gb2312", "王小明", "关于明天会议的通知", "您好，\r\n请查收附件。\r\n"),
    ("gbk", "gbk", "張偉", "繁體與简体混合標題", "朱镕基\r\n"),
    ("gb18030", "gb18030", "李雷", "生僻字𠀀㐀测试", "四字节：𠀀\r\n"),
    ("hz-gb-2312", "hz", "韩梅梅", "新闻组消息", "七位编码\r\n"),
    ("big5", "big5", "陳大文", "會議通知與許功蓋", "您好，請參閱附件。\r\n"),
    ("euc-kr", "euc_kr", "김철수", "안녕하세요 회의 안내입니다", "감사합니다.\r\n"),
    ("ks_c_5601-1987", "cp949", "이영희", "똠방각하 펲시콜라", "확장 완성형\r\n"),
    ("iso-2022-kr", "iso2022_kr", "박민수", "오래된 메일", "반갑습니다\r\n둘째 줄\r\n"),
    ("utf-7", "utf-7", "Jürgen", "Übergröße + Größe", "1 + 1 = 2 é 日本 𠀀\r\n"),
    ("cp850", "cp850", "Günther", "Ältere Post", "Größe ½\r\n"),
    ("macintosh", "mac_roman", "Chloé", "Été à la plage", "œuvre\r\n"),
    ("utf-16", "utf-16-be", "Ωmega", "Sixteen bits ☃", "snow ☃\r\n"),
    ("johab", "johab", "이순신", "조합형으로 쓴 옛 편지 漢字", "ㄱㅏ 똠방각하 → 詰\r\n"),
    ("chinesebig5", "big5", "陳大文", "會議通知與許功蓋", "您好，請參閱附件。\r\n"),
    ("utf-32", "utf-32-be", "Ωmega 😀", "Thirty-two bits 😀", "snow ☃\r\n"),
    ("iso-10646-ucs-2", "utf-16-be", "Ωmega", "Big end first ☃", "snow ☃\r\n"),
]


def word(data, label, kind):
    """One encoded word per 30 bytes would split characters: that is what the hard variant does."""
    if kind == "q":
        text = "".join(chr(b) if chr(b).isalnum() and b < 128 else "=%02X" % b for b in data)
        return "=?%s?Q?%s?=" % (label, text)
    return "=?%s?B?%s?=" % (label, base64.b64encode(data).decode())


def header(text, label, codec, variant):
    data = text.encode(codec)
    if variant == "whole-b":
        return word(data, label, "b")
    if variant == "whole-q":
        return word(data, label, "q")
    if variant == "split":  # cut between bytes, folded
        cut = [data[i : i + 7] for i in range(0, len(data), 7)]
        return "\r\n ".join(word(c, label, "b" if i % 2 else "q") for i, c in enumerate(cut))
    return None


def library(text, label, codec):
    """As Python's own Header folds it, where it knows the charset."""
    return Header(text, label, header_name="Subject", maxlinelen=70).encode(linesep="\r\n")


def mixed(fields, label, body, filename, codec):
    ext = "filename*0*=%s''%s;\r\n filename*1*=%s" % (
        label, quote(filename.encode(codec)[:5], safe=""), quote(filename.encode(codec)[5:], safe=""))
    html = "<p>html</p>"
    return (
        fields
        + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"=_outer:1\"\r\n\r\nThis is MIME.\r\n"
        + b"--=_outer:1\r\nContent-Type: multipart/alternative; boundary==_inner\r\n\r\n"
        + b"--=_inner\r\nContent-Type: text/plain; charset=" + label.encode()
        + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(body).replace(b"\n", b"\r\n")
        + b"\r\n--=_inner\r\nContent-Type: text/html; charset=\"us-ascii\"\r\n\r\n" + html.encode()
        + b"\r\n--=_inner--\r\n\r\n--=_outer:1\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n "
        + ext.encode() + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n--=_outer:1--\r\n"
    )


def main():
    os.makedirs("mails", exist_ok=True)
    golden = []
    wide = {"utf-16", "utf-32", "iso-10646-ucs-2"}
    stateful = {"iso-2022-jp", "hz-gb-2312", "iso-2022-kr", "utf-7"} | wide
    for n, (label, codec, name, subject, text) in enumerate(TEXTS):
        body = text.encode(codec)
        variants = ["whole-b", "whole-q", "split"]
        if label in ("utf-8", "iso-8859-1", "iso-8859-2", "iso-2022-jp", "koi8-r", "euc-jp", "gb2312", "big5", "euc-kr", "windows-1251"):
            variants.append("library")
        if label not in stateful and label not in ("us-ascii", "cp850", "ibm866", "macintosh"):
            variants.append("raw")
        if label in stateful:
            variants.remove("split")
        for variant in variants:
            if variant == "library":
                subj = library(subject, label, codec)
                sender = Header(name, label, header_name="From").encode(linesep="\r\n")
            elif variant == "raw":  # forbidden before RFC 6532, common: 8-bit bytes as they are
                subj, sender = (s.encode(codec).decode("latin-1") for s in (subject, name))
            else:
                subj = header(subject, label, codec, variant)
                sender = header(name, label, codec, variant)
            fields = (
                "Received: from a.example.net by mx.example.com; Mon, 02 Nov 2026 10:00:00 +0000\r\n"
                "From: %s <sender@example.net>\r\nTo: reader@example.com\r\nSubject: %s\r\n"
                "Date: Mon, 02 Nov 2026 11:22:33 +0100\r\nMessage-ID: <%d.%s@example.net>\r\n" % (sender, subj, n, variant)
            ).encode("latin-1")
            want = {"subject": subject, "from": name + " <sender@example.net>", "text": text, "charset": label,
                    "message_id": "%d.%s@example.net" % (n, variant), "attachment": ""}
            if variant == "split":
                want["attachment"] = name + ".bin"
                raw = mixed(fields, label, body, name + ".bin", codec)
            else:
                encoded, cte = base64.encodebytes(body).replace(b"\n", b"\r\n"), "base64"
                if variant == "whole-q":
                    binary = label in wide
                    encoded = quopri.encodestring(body if binary else body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
                    cte = "quoted-printable"
                    if binary:
                        continue
                if variant in ("library", "raw"):
                    encoded, cte = body, "8bit"
                raw = fields + ("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n"
                                % (label, cte)).encode() + encoded
            want["file"] = "%02d-%s-%s.eml" % (n, label, variant)
            golden.append(want)
            with open(os.path.join("mails", want["file"]), "wb") as f:
                f.write(raw)
    with open("golden.json", "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=False, indent=1)
        f.write("\n")


main()

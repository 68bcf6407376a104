"""An SMTP server that other people wrote (aiosmtpd), with faults on demand.

    server.py DIRECTORY [--tls CERTIFICATE KEY] [--implicit] [--user NAME --password WORD]

It writes its port to DIRECTORY/port, each mail that it took to DIRECTORY/mails (one JSON a line) and each command that
it heard to DIRECTORY/commands. What it does next stands in DIRECTORY/script, a word a line, one for each message;
when there is none left it accepts:

    accept          250
    defer           451 at DATA's end
    defer-rcpt      451 at RCPT
    refuse          550 at DATA's end, with words
    refuse-rcpt     550 at RCPT, with words that repeat the address
    refuse-mail     530 at MAIL
    drop            takes the mail, and closes the connection without an answer
    drop-before     closes the connection at DATA's end without taking the mail
    hang            takes the mail and never answers
    hang-before     never answers and does not take the mail
    slow            takes the mail and answers after a second
    gone            every line from here on is for later: the connection is closed at once
"""

import argparse
import asyncio
import base64
import json
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Handler:
    def __init__(self, directory):
        self.directory = directory

    def step(self, at):
        """The next word of the script if it is one for this moment."""
        script = self.directory / "script"
        lines = script.read_text().split() if script.exists() else []
        word = lines[0] if lines else "accept"
        if word in at:
            script.write_text("\n".join(lines[1:]))
            return word
        return None

    def heard(self, line):
        with open(self.directory / "commands", "a") as file:
            file.write(json.dumps(line) + "\n")

    def took(self, envelope, secure):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": secure,
            "data": base64.b64encode(envelope.original_content).decode(),
        }
        with open(self.directory / "mails", "a") as file:
            file.write(json.dumps(mail) + "\n")

    async def handle_MAIL(self, server, session, envelope, address, options):
        self.heard(f"MAIL {address}")
        if self.step(["refuse-mail"]):
            return "530 5.7.0 authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.heard(f"RCPT {address}")
        word = self.step(["refuse-rcpt", "defer-rcpt"])
        if word == "refuse-rcpt":
            return f"550 5.1.1 <{address}>: no such user"
        if word == "defer-rcpt":
            return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.heard("DATA")
        word = self.step(["accept", "defer", "refuse", "drop", "drop-before", "hang", "hang-before", "slow"]) or "accept"
        if word == "defer":
            return "451 4.3.0 try again later"
        if word == "refuse":
            return f"550 5.7.1 refused: {envelope.content.decode(errors='replace')}".split("\n")[0][:400]
        if word == "drop-before":
            server.transport.abort()
            return "250 nobody hears it"
        if word == "hang-before":
            await asyncio.sleep(3600)
        self.took(envelope, server.transport.get_extra_info("sslcontext") is not None)
        if word == "drop":
            server.transport.abort()
        if word == "hang":
            await asyncio.sleep(3600)
        if word == "slow":
            await asyncio.sleep(1)
        return "250 taken"


class Gone(SMTP):
    """Closes the connection of whom the script does not want."""

    def connection_made(self, transport):
        if self.event_handler.step(["gone"]):
            transport.abort()
            return
        super().connection_made(transport)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
    settings = {"enable_SMTPUTF8": True, "decode_data": False}
    if context and not options.implicit:
        settings |= {"tls_context": context, "require_starttls": True}
    if options.user:
        wanted = LoginPassword(options.user.encode(), options.password.encode())
        settings |= {
            "authenticator": lambda *arguments: AuthResult(success=arguments[-1] == wanted, handled=False),
            "auth_required": True,
            "auth_require_tls": bool(context),
        }
    handler = Handler(options.directory)

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Gone(handler, loop=loop, **settings),
            host="127.0.0.1",
            port=options.port,
            ssl=context if options.implicit else None,
        )
        port = server.sockets[0].getsockname()[1]
        part = options.directory / "port.part"
        part.write_text(str(port))
        part.rename(options.directory / "port")
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()

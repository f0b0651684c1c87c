extension SMTPServer {
  /// The server itself. Reads its configuration as lines of JSON and prints events as lines of JSON; ends when its
  /// standard input does, that is, with the process that started it.
  static let script = #"""
    import asyncio, base64, itertools, json, logging, os, ssl, sys, threading, warnings
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    config = json.loads(sys.stdin.readline())
    numbers = itertools.count(1)
    greylisted = 0
    lock = threading.Lock()

    def say(event, **facts):
        # One write a line: the two threads that print do not mix theirs.
        with lock:
            os.write(1, (json.dumps({"event": event, **facts}) + "\n").encode())

    context = None
    if config["security"] != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(config["certificate"], config["key"])
    implicit = config["security"] == "implicit"

    def authenticate(server, session, envelope, mechanism, data):
        known = (isinstance(data, LoginPassword)
                 and config["accounts"].get(data.login.decode("utf-8", "replace"))
                 == data.password.decode("utf-8", "replace"))
        if known:
            server.user = data.login.decode()
        return AuthResult(success=known, handled=False)

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, options):
            global greylisted
            if address in config["refusedRecipients"]:
                return config["refusedRecipients"][address]
            if greylisted < config["greylistCount"]:
                greylisted += 1
                return "451 4.7.1 Greylisted, try again later"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            server.phase = "dot"
            answer = config["answers"].get("dot", "250 2.0.0 Queued as %d" % server.number)
            if answer.startswith("2"):
                say("message", session=server.number, recipients=envelope.rcpt_tos,
                    data=base64.b64encode(envelope.original_content).decode(), user=server.user,
                    tls=implicit or server._tls_protocol is not None, **{"from": envelope.mail_from})
            return answer

    class Server(SMTP):
        def __init__(self):
            accounts = bool(config["accounts"])
            super().__init__(Handler(), hostname="mail.test", ident="test server", loop=asyncio.get_running_loop(),
                             tls_context=None if implicit else context,
                             require_starttls=context is not None and not implicit,
                             auth_required=accounts, auth_require_tls=context is not None and not implicit,
                             auth_exclude_mechanism=None if accounts else ["LOGIN", "PLAIN"],
                             authenticator=authenticate, timeout=3600)
            self.number = next(numbers)
            self.user = None
            self.phase = "greeting"
            self._smtp_methods = {name: self.watched(name, method) for name, method in self._smtp_methods.items()}

        def watched(self, name, method):
            async def command(argument):
                self.phase = "ehlo" if name == "HELO" else name.lower()
                say("command", session=self.number, name=name)
                answer = config["answers"].get(self.phase)
                if answer:
                    await self.push(answer)
                else:
                    await method(argument)
            return command

        async def push(self, status):
            if self.phase == "greeting" and "greeting" in config["answers"]:
                status = config["answers"]["greeting"]
            if config.get("hang") == self.phase:
                say("hung", session=self.number, name=self.phase)
                try:
                    await asyncio.Event().wait()
                finally:
                    # The client is gone: it was half open until now.
                    self.transport.abort()
            if config.get("close") == self.phase:
                self.transport.abort()
                await asyncio.Event().wait()
            await super().push(status)
            if config.get("hang") == "message" and self.phase == "data" and status.startswith("354"):
                say("hung", session=self.number, name="message")
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(config["pause"], self.transport.resume_reading)

        def connection_made(self, transport):
            if self._original_transport is None:
                say("opened", session=self.number)
            super().connection_made(transport)

        def data_received(self, data):
            if data.endswith(b"QUIT\r\n"):
                say("goodbye", session=self.number)
            super().data_received(data)

        def connection_lost(self, error):
            say("closed", session=self.number)
            super().connection_lost(error)

    def listen_to_owner():
        for line in sys.stdin:
            config.update({"hang": None, "close": None})
            config.update(json.loads(line))
            say("configured")
        os._exit(0)

    async def main():
        server = await asyncio.get_running_loop().create_server(
            Server, "127.0.0.1", 0, ssl=context if implicit else None, backlog=512)
        say("ready", port=server.sockets[0].getsockname()[1])
        threading.Thread(target=listen_to_owner, daemon=True).start()
        await server.serve_forever()

    asyncio.run(main())
    """#
}

"""An SMS centre built on the third-party smpp34: the peer of tests/contract/test_smpp_smpp34.py. Takes PORT as argument, prints JSON."""

import asyncio
import json
import sys

import smpp34


async def told(esme: smpp34.Esme, to: str, message_id: str) -> None:
    text = f"id:{message_id} sub:001 dlvrd:001 submit date:2611240940 done date:2611240941 stat:DELIVRD err:000 text:"
    answer = await esme.deliver_sm(source_addr=to, destination_addr="12345", short_message=text.encode(), esm_class=4)
    print(json.dumps({"receipt": to, "status": answer.command_status}), flush=True)


async def main() -> None:
    server = smpp34.Server("127.0.0.1", int(sys.argv[1]))
    await server.start()
    print(json.dumps({"up": True}), flush=True)
    bound, telling, serial = None, set(), 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            bound = event
        elif isinstance(event, smpp34.SubmitSmEvent):
            if event.destination_addr.startswith("3461"):
                event.reject(smpp34.ESME_RTHROTTLED)
                continue
            serial += 1
            row = {"to": event.destination_addr, "text": event.short_message.hex(), "from": event.source_addr}
            print(json.dumps({**row, "coding": event.data_coding, "esm_class": event.esm_class}), flush=True)
            event.accept(f"{serial:08x}")
            task = asyncio.create_task(told(bound, event.destination_addr, f"{serial:08x}"))
            telling.add(task)
            task.add_done_callback(telling.discard)
        else:
            print(json.dumps({"unbound": True}), flush=True)


asyncio.run(main())

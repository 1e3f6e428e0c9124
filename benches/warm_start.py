"""What going on from an earlier training is worth: a model fitted anew for a month, and one that goes on from the month
before.

    python benches/warm_start.py online_retail.npz [--days 30] [--share 0.2] [--every 10]

The earlier model learns from everything before the last two months, and both others from everything before the last
one: one anew, with all that it chooses, and one that goes on (``warm_start=True``) with a share of the epochs. NDCG@20
of what known customers bought in the last month and had not had, and the processor's seconds, all threads together.
--every 10 takes each tenth customer alone.
"""

import argparse
import time

from living import DAY, load

import ancf


def table(frame, until):
    part = frame[frame.time < until]
    columns = {"user": part.user, "item": part.item, "quantity": part.quantity, "time": part.time}
    return ancf.read_interactions({name: column.to_numpy() for name, column in columns.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    frame = load(args.table)
    frame = frame[frame.user % args.every == 0]
    end = (int(frame.time.max()) // DAY + 1) * DAY
    month = args.days * DAY
    before, known = table(frame, end - 2 * month), table(frame, end - month)
    _, asked = ancf.time_split(table(frame, end), at=(end - month))
    earlier = ancf.ANCF(warm_start=True).fit(before)
    epochs = max(1, round(args.share * earlier.history_["settings"]["epochs"]))
    for name, model in (
        ("as it was a month ago", None),
        ("fitted anew", ancf.ANCF()),
        (f"gone on with {epochs} epochs", earlier.set_params(epochs=epochs)),
    ):
        began = time.process_time()
        fitted = earlier if model is None else model.fit(known)
        seconds = time.process_time() - began
        found = ancf.evaluate(fitted, asked, metrics=["ndcg"], k=20)
        print(f"{name:28} NDCG@20 {found['ndcg@20']:.4f}   {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()

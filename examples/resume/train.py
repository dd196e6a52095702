"""A small network learns a small function; what it has learned goes to a checkpoint every few steps.

Started again it goes on from there, and its losses are, bit for bit, those of a run that never
stopped: the checkpoint holds the weights, the optimiser and the dice.
"""
import os
import sys
import time

import torch

STEPS, EVERY = int(os.environ.get("STEPS", "200")), 10
PAUSE_S = float(os.environ.get("PAUSE", "0"))
CHECKPOINT = "train.pt"

torch.manual_seed(7)
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1))
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []

if os.path.exists(CHECKPOINT):
    kept = torch.load(CHECKPOINT)
    model.load_state_dict(kept["model"])
    optimiser.load_state_dict(kept["optimiser"])
    torch.set_rng_state(kept["dice"])
    losses = kept["losses"]
    print("resumed at step %d" % len(losses), flush=True)

while len(losses) < STEPS:
    inputs = torch.randn(64, 8)
    wanted = torch.sin(inputs.sum(dim=1, keepdim=True))
    loss = torch.nn.functional.mse_loss(model(inputs), wanted)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(float(loss))
    if len(losses) % EVERY == 0:
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                    "dice": torch.get_rng_state(), "losses": losses}, CHECKPOINT + ".new")
        os.replace(CHECKPOINT + ".new", CHECKPOINT)
        print("step %d loss %.6f" % (len(losses), losses[-1]), flush=True)
    time.sleep(PAUSE_S)

with open("losses.txt", "w") as file:
    file.writelines("%s\n" % loss.hex() for loss in losses)
sys.exit(0)

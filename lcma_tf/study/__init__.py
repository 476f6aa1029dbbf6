"""The ablation of the split rule (the paper's Table 2): runs side by side, and what is told of them."""

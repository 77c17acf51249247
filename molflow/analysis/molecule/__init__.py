"""What a molecule is: bonds, hands, rings, lengths and angles, and what is sound."""

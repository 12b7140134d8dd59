"""Pet-from-background segmentation: data contract, U-Net, training, tracking."""

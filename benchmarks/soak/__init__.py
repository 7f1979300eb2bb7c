"""Does the service stay correct, steady and constant in memory, hour after hour?"""

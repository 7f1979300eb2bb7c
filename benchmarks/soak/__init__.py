"""Does the service stay right, steady and as large as it is, hour after hour?"""
